"""Every name of TensorRT's API that our code uses exists in versions 10.16 and 11.4.

The libraries themselves are not in the package registry, but their bindings are, and import beside empty libraries that
export nine symbols. Names are read from our source, so none can be forgotten.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = ("export/formats/tensorrt.py", "f2pnet/backends/tensorrt.py", "f2pnet/backends/kernel_cache.py")
VERSIONS = ("10.16.1.11", "11.4.0.106")

CLASSES = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "parser": "OnnxParser",
    "error": "ParserError",
    "feed": "ITensor",
    "cache": "ITimingCache",
    "self._runtime": "Runtime",
    "self._engine": "ICudaEngine",
    "runtime_config": "IRuntimeConfig",
    "self._cache": "IRuntimeCache",
    "context": "IExecutionContext",
}
"""What our variables of these names hold."""

RTX_ONLY = {
    "BuilderFlag.REQUIRE_USER_ALLOCATION",
    "DynamicShapesKernelSpecializationStrategy",
    "DynamicShapesKernelSpecializationStrategy.EAGER",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
    "IRuntimeConfig.create_runtime_cache",
    "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy",
    "IRuntimeConfig.set_runtime_cache",
    "IRuntimeCache.deserialize",
    "IRuntimeCache.serialize",
}
"""Used only where the module has them."""

SYMBOLS = {
    "nvinfer": (
        "createInferBuilder_INTERNAL",
        "createInferRefitter_INTERNAL",
        "createInferRuntime_INTERNAL",
        "getBuilderPluginRegistry",
        "getPluginRegistry",
    ),
    "nvonnxparser": (
        "createNvOnnxParser_INTERNAL",
        "createNvOnnxParserRefitter_INTERNAL",
        "getNvOnnxParserVersion",
    ),
    "nvinfer_plugin": ("initLibNvInferPlugins",),
}

LOOK_UP = """
import functools, json, sys
import tensorrt_bindings as trt
def there(name):
    try:
        functools.reduce(getattr, name.split("."), trt)
    except AttributeError:
        return False
    return True
print(json.dumps([name for name in json.loads(sys.stdin.read()) if not there(name)]))
"""


def names_used() -> set[str]:
    """Dotted names below the module, from `trt.X.Y` and from the methods called on objects of TensorRT."""
    found = set()
    for source in SOURCES:
        for node in ast.walk(ast.parse((REPOSITORY / source).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                words = ast.unparse(node)
                owner, _, attribute = words.rpartition(".")
                if words.startswith("trt."):
                    found.add(words.removeprefix("trt."))
                elif owner in CLASSES:
                    found.add(f"{CLASSES[owner]}.{attribute}")
    return found


def empty_libraries(folder: Path, major: str) -> None:
    """Libraries with the symbols that the bindings ask for, all of which answer null."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs gcc")
    for library, symbols in SYMBOLS.items():
        source = folder / f"{library}.c"
        source.write_text("".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in symbols))
        target = folder / f"lib{library}.so.{major}"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", target, source], check=True, timeout=60)


def bindings(version: str) -> Path:
    """The folder of the unpacked bindings, which is kept between runs."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "f2pnet-tests" / f"tensorrt-bindings-{version}-{sys.version_info.major}{sys.version_info.minor}"
    if not (folder / "tensorrt_bindings" / "__init__.py").is_file():
        package = f"tensorrt-cu13-bindings=={version}"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, package]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        if done.returncode:
            pytest.skip(f"{package} can't be fetched: {done.stderr.strip().splitlines()[-1]}")
    return folder


@pytest.mark.parametrize("version", VERSIONS)
def test_every_name_that_our_code_uses_exists_in_the_bindings(version: str, tmp_path: Path) -> None:
    empty_libraries(tmp_path, version.partition(".")[0])
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": str(bindings(version))}

    done = subprocess.run(
        [sys.executable, "-c", LOOK_UP],
        input=json.dumps([*names_used(), "NoSuchThing.at_all"]),
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert set(json.loads(done.stdout)) == {"NoSuchThing.at_all"} | RTX_ONLY


def test_every_name_that_our_code_uses_exists_in_rtx() -> None:
    rtx = pytest.importorskip("tensorrt_rtx", reason="needs the extra trt-rtx")

    missing = [name for name in names_used() if not _has(rtx, name)]
    assert not missing


def test_the_names_are_really_found_in_our_source() -> None:
    used = names_used()

    assert {"Builder", "MemoryPoolType.WORKSPACE", "Runtime", "IExecutionContext.execute_async_v3"} <= used
    assert {name.partition(".")[0] for name in used} >= set(CLASSES.values())


def _has(module: object, name: str) -> bool:
    try:
        functools.reduce(getattr, name.split("."), module)
    except AttributeError:
        return False
    return True
