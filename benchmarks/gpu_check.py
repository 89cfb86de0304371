"""Everything that only a machine with an NVIDIA GPU can tell: `python benchmarks/gpu_check.py`, or `make gpu-check`.

Builds TensorRT engines of a bundle and judges them by the gate, runs the tests marked `gpu`, and times ONNX Runtime,
TensorRT and torch at batch 1 and 8 beside the GPU's measured peak. Each step is a process of its own, so that one that
fails, hangs or is not installed here costs no other; the report says which did and why. Needs no network.
Exit codes: 0 all steps ran, 1 a step failed, 3 there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np

from f2pnet.backends import Backend, open_backend
from f2pnet.backends.cuda_driver import probe
from f2pnet.engine.bundle import Bundle, open_bundle
from f2pnet.errors import ExitCode, F2pError, MissingResource

REPOSITORY = Path(__file__).resolve().parents[1]
GPU_TESTS = REPOSITORY / "tests/f2pnet/backends"  # others import packages that a GPU machine may lack
SHIPPED = REPOSITORY / "configs/engines/surface-nano"
STEP_LIMIT_S = 540  # machines that are lent end a command after ten minutes
BATCHES = (1, 8)
WARM_UP, TIMED = 20, 100
MATRIX = 8192
NO_TESTS = 5  # pytest's exit code
PACKAGES = ("torch", "onnx", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx", "numpy")

Facts = dict[str, Any]


class Skipped(Exception):
    """The step can't run here; the text says why."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", type=Path, default=SHIPPED, help="bundle that holds the ONNX file")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "exp/gpu-check", help="built engines go here")
    parser.add_argument("--report", type=Path, default=REPOSITORY / "docs/benchmarks/gpu", help="folder of the reports")
    parser.add_argument("--verify", type=Path, help="data set folder to judge engines on; else drawn frames")
    parser.add_argument("--calibration", type=Path, help="data set folder for int8; without it int8 is skipped")
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        driver = probe()
    except MissingResource as missing:
        print(f"gpu-check: {missing}", file=sys.stderr)
        return int(ExitCode.MISSING)
    if options.step:
        return run_here(STEPS[options.step], options)
    facts: Facts = {"made": datetime.now(UTC).isoformat(timespec="seconds"), "driver": asdict(driver), **machine()}
    facts["steps"] = {}
    name = f"{datetime.now(UTC):%Y-%m-%d}-{driver.gpu_name.replace(' ', '-').replace('/', '-').lower()}"
    for step in STEPS:
        facts["steps"][step] = run_apart(step)
        write_report(options.report / name, facts)  # after every step: what was measured outlives the machine
    return int(any(step["state"] == "failed" for step in facts["steps"].values()))


def machine() -> Facts:
    """What else decides about figures. Versions are those that Python sees, also where nothing was installed by pip."""
    found = {held.name: held.version for held in distributions()}
    packages = {name: found[name] for name in PACKAGES if name in found}
    return {"python": platform.python_version(), "cores": len(os.sched_getaffinity(0)), "packages": packages}


def run_apart(name: str) -> Facts:
    """The step in a process of its own; its last line is its answer."""
    print(f"gpu-check: {name} ...", flush=True)
    command = [sys.executable, __file__, *sys.argv[1:], "--step", name]
    path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    started = time.monotonic()
    try:
        done = subprocess.run(  # noqa: S603 - this script itself
            command, env=environment, capture_output=True, text=True, timeout=STEP_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        answer: Facts = {"state": "failed", "why": f"not done after {STEP_LIMIT_S} s"}
    else:
        answer = answer_of(done.stdout, done.stderr, done.returncode)
    answer["seconds"] = round(time.monotonic() - started, 1)
    print(f"gpu-check: {name}: {answer['state']} {answer.get('why', '')}", flush=True)
    return answer


def answer_of(stdout: str, stderr: str, code: int) -> Facts:
    """What a step's process said, or what can be told of one that said nothing."""
    try:
        answer: Facts = json.loads(stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (stderr.strip().splitlines() or ["no output"])[-1]
        return {"state": "failed", "why": f"ended with code {code}: {last}"}
    return answer


def run_here(step: Callable[[argparse.Namespace], Facts], options: argparse.Namespace) -> int:
    """Print the step's answer as one line of JSON."""
    try:
        answer = {"state": "done", "facts": step(options)}
    except (Skipped, MissingResource, ImportError) as reason:
        answer = {"state": "skipped", "why": str(reason)}
    except F2pError as error:
        answer = {"state": "failed", "why": str(error)}
    print(json.dumps(answer))
    return 0


def peak(options: argparse.Namespace) -> Facts:
    """Dense products of square matrices: what this GPU gives when nothing else is in the way."""
    import torch

    def rate(kind: torch.dtype) -> float:
        left = torch.randn(MATRIX, MATRIX, device="cuda", dtype=kind)
        seconds = cuda_seconds(lambda: left @ left, runs=20)
        return 2 * MATRIX**3 / statistics.median(seconds) / 1e12

    rates = {
        "fp16_tflops": rate(torch.float16),
        "bf16_tflops": rate(torch.bfloat16),
        "fp32_tflops": rate(torch.float32),
    }
    return {"matrix": MATRIX, **rates}


def build(precision: str) -> Callable[[argparse.Namespace], Facts]:
    """A step that builds an engine in this precision, through the gate."""

    def step(options: argparse.Namespace) -> Facts:
        from export.exporter import ExportOptions, export_bundle

        if precision == "int8" and options.calibration is None:
            raise Skipped("int8 needs images to take its ranges from: --calibration FOLDER")
        chosen = ExportOptions(
            [("onnx", precision), ("tensorrt", precision)],  # type: ignore[list-item]
            verify=[options.verify] if options.verify else [],
            calibration=[options.calibration] if options.calibration else [],
        )
        made = export_bundle(options.engine, options.work / f"tensorrt-{precision}", chosen)
        artifact = made.artifact("tensorrt", precision)  # type: ignore[arg-type]
        proof = artifact.parity.model_dump() if artifact.parity else None
        return {"built_with": artifact.built_with, "bytes": made.path(artifact).stat().st_size, "parity": proof}

    return step


def tests(options: argparse.Namespace) -> Facts:
    """What pytest says of the tests that need a GPU."""
    import pytest  # noqa: F401 - says by its absence that there is nothing to run

    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", str(GPU_TESTS)]
    done = subprocess.run(  # noqa: S603 - pytest on our own tests
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=STEP_LIMIT_S - 60, check=False
    )
    last = (done.stdout.strip().splitlines() or ["no output"])[-1]
    if done.returncode == NO_TESTS:
        raise Skipped(f"no test ran: {last}")
    if done.returncode:
        raise F2pError(f"tests failed: {last}")
    return {"pytest": last}


def bench_onnxruntime(options: argparse.Namespace) -> Facts:
    """The fp32 ONNX file on CUDA; an error where CUDA does not start."""
    load_torchs_libraries()
    with open_backend("onnxruntime", open_bundle(options.engine), device="cuda") as backend:
        return {"onnxruntime fp32": timings(backend)}


def bench_tensorrt(options: argparse.Namespace) -> Facts:
    """Every precision that was built."""
    found: Facts = {}
    for folder in built_engines(options.work):
        bundle = open_bundle(folder)
        precision = bundle.artifact("tensorrt").precision
        with open_backend("tensorrt", bundle) as backend:
            found[f"tensorrt {precision}"] = timings(backend)
    if not found:
        raise Skipped("no TensorRT engine was built")
    return found


def built_engines(work: Path) -> list[Path]:
    """The bundles that passed the gate, without the reports of those that were refused."""
    return sorted(folder for folder in work.glob("tensorrt-*") if (folder / "manifest.json").is_file())


def bench_torch(options: argparse.Namespace) -> Facts:
    """The same network in torch, with random weights: time does not depend on them. Also counts its operations."""
    import torch

    from export.formats.flops import graph_flops
    from models.configuration import network_config
    from models.deploy import AutoNetwork
    from models.f2pnet import build_network

    bundle = open_bundle(options.engine)
    network = AutoNetwork(build_network(network_of(bundle, network_config)).eval()).cuda()
    found: Facts = {}
    flop = graph_flops(bundle.path(bundle.artifact("onnx")))
    with torch.inference_mode():
        for name, kind in (("fp32", None), ("fp16 autocast", torch.float16), ("bf16 autocast", torch.bfloat16)):
            rates = {}
            for count in BATCHES:
                images = torch.randint(0, 256, images_shape(bundle, count), dtype=torch.uint8, device="cuda")
                with torch.autocast("cuda", kind, enabled=kind is not None):
                    rates[str(count)] = figures(cuda_seconds(lambda images=images: network(images)), count)
            found[f"torch {name}"] = rates
    return {"flop_per_image": flop, **found}


def network_of(bundle: Bundle, network_config: Callable[..., Any]) -> Any:
    """The configuration that the manifest names."""
    facts, classes = bundle.manifest.network, len(bundle.manifest.classes)
    return network_config(facts.sam_type, facts.image_size, num_classes=classes if classes > 1 else 0)


def images_shape(bundle: Bundle, count: int) -> tuple[int, int, int, int]:
    """(count, S, S, 3)."""
    side = bundle.manifest.network.image_size
    return count, side, side, 3


def load_torchs_libraries() -> None:
    """torch brings the CUDA libraries that ONNX Runtime needs, where nothing else does."""
    try:
        import torch  # noqa: F401
    except ImportError:
        return


def timings(backend: Backend) -> Facts:
    """One run after another from host memory to host memory; where the backend can, also with copies overlapped."""
    rng, side, found = np.random.default_rng(0), backend.facts.image_size, {}
    for count in (count for count in BATCHES if count <= backend.facts.max_batch):
        batch = rng.integers(0, 256, (count, side, side, 3), np.uint8)
        for _ in range(WARM_UP):
            backend.run(batch)
        found[str(count)] = figures([seconds_of(lambda batch=batch: backend.run(batch)) for _ in range(TIMED)], count)
        run_all = getattr(backend, "run_all", None)
        if run_all is not None:
            seconds = seconds_of(lambda batch=batch, run_all=run_all: list(run_all([batch] * TIMED)))
            found[str(count)]["overlapped_images_per_s"] = TIMED * count / seconds
    return found


def seconds_of(work: Callable[[], object]) -> float:
    """Wall clock of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def cuda_seconds(work: Callable[[], object], runs: int = TIMED) -> list[float]:
    """Wall clock of each run, with the GPU idle before and after."""
    import torch

    def once() -> None:
        work()
        torch.cuda.synchronize()

    for _ in range(WARM_UP):
        once()
    return [seconds_of(once) for _ in range(runs)]


def figures(seconds: list[float], count: int) -> Facts:
    """Median and 99th percentile in ms, and images per second at the median."""
    p50, p99 = float(np.percentile(seconds, 50)), float(np.percentile(seconds, 99))
    return {"p50_ms": p50 * 1e3, "p99_ms": p99 * 1e3, "images_per_s": count / p50}


STEPS: dict[str, Callable[[argparse.Namespace], Facts]] = {
    "peak": peak,
    "build fp32": build("fp32"),
    "build fp16": build("fp16"),
    "build int8": build("int8"),
    "tests": tests,
    "onnxruntime": bench_onnxruntime,
    "tensorrt": bench_tensorrt,
    "torch": bench_torch,
}


def write_report(stem: Path, facts: Facts) -> None:
    """`stem`.json with everything and `stem`.md to read."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    Path(f"{stem}.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    Path(f"{stem}.md").write_text(page(facts), encoding="utf-8")
    print(f"gpu-check: wrote {stem}.md and .json")


def page(facts: Facts) -> str:
    """The report as Markdown."""
    driver, steps = facts["driver"], facts["steps"]
    held = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    lines = [
        f"# {driver['gpu_name']}, {facts['made'][:10]}",
        "",
        f"CUDA {driver['cuda_version']}, compute capability {driver['compute_capability']}; Python {facts['python']}, "
        f"{facts['cores']} cores; {held}.",
        "",
        "| step | | |",
        "|---|---|---|",
        *(f"| {name} | {step['state']} | {step.get('why', '')} |".replace("\n", " ") for name, step in steps.items()),
        "",
        "| | batch | p50 ms | p99 ms | images/s | overlapped | share of fp16 peak |",
        "|---|---|---|---|---|---|---|",
        *rate_rows(steps),
        "",
    ]
    return "\n".join(lines)


def rate_rows(steps: Facts) -> list[str]:
    """One row for each engine and batch. The peak is the matrix product's, measured in the same run."""
    tflops = steps.get("peak", {}).get("facts", {}).get("fp16_tflops")
    flop = steps.get("torch", {}).get("facts", {}).get("flop_per_image")
    rows = []
    for step in ("onnxruntime", "tensorrt", "torch"):
        for engine, batches in steps.get(step, {}).get("facts", {}).items():
            if engine == "flop_per_image":
                continue
            for count, found in batches.items():
                overlapped = found.get("overlapped_images_per_s")
                best = max(found["images_per_s"], overlapped or 0)
                share = f"{best * flop / tflops / 1e12:.1%}" if tflops and flop else ""
                rows.append(
                    f"| {engine} | {count} | {found['p50_ms']:.2f} | {found['p99_ms']:.2f} | "
                    f"{found['images_per_s']:.0f} | {f'{overlapped:.0f}' if overlapped else ''} | {share} |"
                )
    return rows


if __name__ == "__main__":
    sys.exit(main())
