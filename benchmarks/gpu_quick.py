"""What a GPU that is at hand for a quarter of an hour is asked, in parts of ten minutes: `make gpu-quick PART=n`.

    1  the driver without TensorRT, peaks, torch against the CPU       3  torch: sizes and training throughput
    2  TensorRT-RTX: does it build, gate, rates                        4  ONNX Runtime on CUDA: gate, rates, the line
    5  training for as long as the part lasts, with a checkpoint every minute

Nothing is installed there and no network is needed. What the machine's Python lacks is brought in folders and archives
below `kits/` (`--prepare` makes them), in portions that fit the limit together with the repository; each part says what
it needs, how large that is, and what is missing. Results are written line by line as they come, into `--out`.
Exit codes: 0 the part ran, 1 a step failed, 3 there is no GPU or a file is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))
KITS = REPOSITORY / "kits"
PYTHON = (3, 12)
"""The Python that the kits are for."""
PORTION_MIB = 64
PART_S = 560  # a command there ends after ten minutes
PACKAGES = KITS / "packages"
ENTRY_POINTS = REPOSITORY / "f2pnet.egg-info"
RTX = [KITS / "rtx.tar.xz.0", KITS / "rtx.tar.xz.1"]
RUNTIME = [KITS / "ort.tar.xz.0", KITS / "ort.tar.xz.1"]
TRAINING = KITS / "training.npz"
TORCH_LIBRARIES = ("nvidia/cu13/lib", "nvidia/cudnn/lib")

LACKING = ("pydantic", "PyYAML", "structlog", "msgspec", "pyzmq", "redis", "setproctitle", "psutil", "typer", "rich")
"""What the product needs and a machine made for training may lack."""

Facts = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """`portions`: files that are brought together, beside the repository, one portion after another."""

    steps: Sequence[str]
    portions: Sequence[Sequence[Path]]


PARTS = {
    1: Part(["driver", "peak", "torch"], [[PACKAGES, ENTRY_POINTS]]),
    2: Part(["build fp32", "build fp16", "tensorrt"], [[PACKAGES, ENTRY_POINTS], [RTX[0]], [RTX[1]]]),
    3: Part(["torch sizes", "training rate"], [[PACKAGES, ENTRY_POINTS]]),
    4: Part(["onnxruntime gate", "onnxruntime", "line"], [[PACKAGES, ENTRY_POINTS], [RUNTIME[0]], [RUNTIME[1]]]),
    5: Part(["train"], [[PACKAGES, ENTRY_POINTS], [TRAINING]]),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", type=int, choices=PARTS)
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", REPOSITORY / "exp/gpu-quick")))
    parser.add_argument("--prepare", action="store_true", help="make what can be made of kits/, with internet")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prepare:
        prepare()
        return 0
    if options.part is None:
        parser.error("which part? --part 1 to 5, or --prepare")
    if options.step:
        return _step(options.step, options)
    part = PARTS[options.part]
    for line in needs(part):
        print(f"gpu-quick {options.part}: {line}", flush=True)
    lacking = [path for portion in part.portions for path in portion if not path.exists()]
    no_gpu = gpu_missing()
    if no_gpu or lacking:
        missing = ", ".join(str(path.relative_to(REPOSITORY)) for path in lacking) or "nothing"
        print(f"gpu-quick {options.part}: {no_gpu or 'there is a GPU'}; missing files: {missing}", file=sys.stderr)
        return 3
    return _run(options.part, part, options.out)


def needs(part: Part) -> Iterator[str]:
    """What the part needs, with its size, and whether each portion fits beside the repository."""
    tree_mib = size_mib([REPOSITORY / name for name in tracked()])
    yield f"repository {tree_mib:.1f} MiB"
    for number, portion in enumerate(part.portions, 1):
        there = [path for path in portion if path.exists()]
        total_mib = size_mib(there) + tree_mib
        names = ", ".join(f"{path.relative_to(REPOSITORY)} {size_mib([path]):.1f} MiB" for path in there) or "nothing"
        verdict = "fits" if total_mib <= PORTION_MIB else f"does NOT fit into {PORTION_MIB} MiB"
        yield f"portion {number}: {names}; with the repository {total_mib:.1f} MiB, {verdict}"


def tracked() -> list[str]:
    """Files of the repository, as git lists them; without git, all that is neither hidden nor a kit."""
    done = subprocess.run(  # noqa: S603
        ["git", "-C", str(REPOSITORY), "ls-files"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return [name for name in done.stdout.splitlines() if (REPOSITORY / name).is_file()]
    found = (path.relative_to(REPOSITORY) for path in REPOSITORY.rglob("*") if path.is_file())
    return [str(path) for path in found if path.parts[0] != "kits" and not path.parts[0].startswith(".")]


def size_mib(paths: Sequence[Path]) -> float:
    """Of files, and of folders with all that is in them."""
    files = (file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())
    return sum(file.stat().st_size for file in files) / 2**20


def gpu_missing() -> str | None:
    """Why there is no GPU to use, in one line; None where there is one."""
    sys.path[:0] = map(str, kit_folders())
    from f2pnet.backends.cuda_driver import probe
    from f2pnet.errors import MissingResource

    try:
        probe()
    except MissingResource as missing:
        return f"no GPU: {missing}"
    return None


def _run(number: int, part: Part, out: Path) -> int:
    """Each step in a process of its own, its answer appended to the part's file at once."""
    for archive in (RTX, RUNTIME):
        if all(piece.exists() for piece in archive):
            _unpack(archive)
    out.mkdir(parents=True, exist_ok=True)
    results, until_s, failed = out / f"part-{number}.jsonl", time.monotonic() + PART_S, False
    for step in part.steps:
        left_s = until_s - time.monotonic()
        command = [sys.executable, __file__, "--part", str(number), "--out", str(out), "--step", step]
        started_s = time.monotonic()
        try:
            done = subprocess.run(  # noqa: S603 - this script itself
                command, env=environment(), capture_output=True, text=True, timeout=max(1, left_s), check=False
            )
            answer = _answer(done.stdout, done.stderr, done.returncode)
        except subprocess.TimeoutExpired:
            answer = {"state": "failed", "why": f"not done in the {left_s:.0f} s that were left"}
        answer |= {"step": step, "seconds": round(time.monotonic() - started_s, 1)}
        failed = failed or answer["state"] == "failed"
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(answer) + "\n")
        print(f"gpu-quick {number}: {step}: {answer['state']} {answer.get('why', '')}", flush=True)
    return int(failed)


def kit_folders() -> list[Path]:
    """What was brought for this Python; the folders of another one would hide its own packages."""
    unpacked = [PACKAGES, *(KITS / pieces[0].name.partition(".")[0] for pieces in (RTX, RUNTIME))]
    return [folder for folder in unpacked if folder.is_dir() and sys.version_info[:2] == PYTHON]


def environment() -> dict[str, str]:
    """Kits before the machine's own packages; torch's CUDA libraries for processes that do not import torch."""
    folders = [REPOSITORY, *kit_folders()]
    libraries = [
        str(Path(entry) / name) for entry in sys.path for name in TORCH_LIBRARIES if (Path(entry) / name).is_dir()
    ]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "LD_LIBRARY_PATH": os.pathsep.join([*libraries, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]),
    }


def _answer(stdout: str, stderr: str, code: int) -> Facts:
    try:
        answer: Facts = json.loads(stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (stderr.strip().splitlines() or ["no output"])[-1]
        return {"state": "failed", "why": f"ended with code {code}: {last}"}
    return answer


def _unpack(pieces: Sequence[Path]) -> None:
    folder = KITS / pieces[0].name.partition(".")[0]
    if folder.is_dir():
        return
    whole = folder.with_suffix(".tar.xz")
    with whole.open("wb") as file:
        for piece in pieces:
            file.write(piece.read_bytes())
    with tarfile.open(whole) as archive:
        archive.extractall(folder, filter="data")
    whole.unlink()


def _step(name: str, options: argparse.Namespace) -> int:
    from benchmarks import gpu_check

    if name in STEPS:
        return gpu_check.run_here(STEPS[name], options)
    shared = argparse.Namespace(
        engine=gpu_check.SHIPPED, work=options.out / "engines", verify=None, calibration=None, out=options.out
    )
    return gpu_check.run_here(gpu_check.STEPS[name], shared)


def driver(options: argparse.Namespace) -> Facts:
    """Bytes to the GPU and back through our own calls of the driver, plain and as a captured graph."""
    import numpy as np

    from f2pnet.backends.cuda_driver import probe
    from f2pnet.backends.cuda_edge import CudaEdge

    edge, size = CudaEdge(), 1 << 24
    try:
        given, taken, memory = edge.pinned(size), edge.pinned(size), edge.device(size)
        stream, event = edge.stream(), edge.event()

        def there_and_back() -> None:
            edge.upload(memory, given, size, stream)
            edge.download(taken, memory, size, stream)

        graph = edge.capture(stream, there_and_back)
        found: Facts = {"gpu": probe().gpu_name}
        for how, work in (("plain", there_and_back), ("graph", lambda: edge.launch(graph, stream))):
            given[:] = np.random.default_rng(len(found)).integers(0, 256, size, np.uint8)
            started_s = time.perf_counter()
            work()
            edge.record(event, stream)
            edge.synchronize(event)
            found[f"{how}_gb_per_s"] = 2 * size / 1e9 / (time.perf_counter() - started_s)
            found[f"{how}_exact"] = bool(np.array_equal(given, taken))
    finally:
        edge.close()
    return found


def torch_sizes(options: argparse.Namespace) -> Facts:
    """Images/s of the network's sizes in torch, bf16, random weights."""
    import torch

    from benchmarks.gpu_check import cuda_seconds, figures
    from models.configuration import network_config
    from models.deploy import AutoNetwork
    from models.f2pnet import build_network

    found: Facts = {}
    for sam_type, side in (("nano", 256), ("vit_t", 1024), ("vit_b", 1024), ("vit_l", 1024)):
        network = AutoNetwork(build_network(network_config(sam_type, side, num_classes=0)).eval()).cuda()
        for count in (1, 8):
            images = torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, device="cuda")
            with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
                seconds = cuda_seconds(lambda network=network, images=images: network(images), runs=20)
            found[f"{sam_type} {side} batch {count}"] = figures(seconds, count)
            print(json.dumps(found), file=sys.stderr, flush=True)
        del network
        torch.cuda.empty_cache()
    return found


def onnxruntime_gate(options: argparse.Namespace) -> Facts:
    """ONNX Runtime on CUDA against itself on the CPU, by the limits that an export has to keep."""
    from benchmarks import gpu_check
    from export.formats.synthetic_frames import synthetic_frames
    from export.gate.gate import LIMITS, judge
    from f2pnet.backends import open_backend
    from f2pnet.engine.bundle import Bundle, open_bundle

    bundle = open_bundle(gpu_check.SHIPPED)
    one = bundle.manifest.model_copy(update={"artifacts": [bundle.artifact("onnx", "fp32")]})
    bundle = Bundle(bundle.folder, one)
    frames = {"synthetic": synthetic_frames(bundle.manifest.network.image_size)}
    with (
        open_backend("onnxruntime", bundle, device="cuda") as engine,
        open_backend("onnxruntime", bundle, device="cpu") as reference,
    ):
        judgement = judge(bundle, engine, reference, frames, LIMITS["fp32"])
    return {"misses": judgement.misses, "parities": [parity.model_dump() for parity in judgement.parities]}


def line(options: argparse.Namespace) -> Facts:
    """`f2p bench pipeline` on the shipped engine, at 1080p and 12 Mpx, beside its bare rate in the same run."""
    from benchmarks import gpu_check

    found: Facts = {}
    for size in ("1920x1080", "4000x3000"):
        command = [sys.executable, "-m", "f2pnet.cli", "bench", "pipeline", "--engine", str(gpu_check.SHIPPED)]
        command += ["--cameras", "4", "--size", size, "--duration", "20", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)  # noqa: S603
        report = json.loads(done.stdout)
        found[size] = {name: report[name] for name in ("throughput_fps", "engine", "ratio_to_engine", "latency_ms")}
    return found


def training_rate(options: argparse.Namespace) -> Facts:
    """Images/s of training steps, as the benchmark of training measures them."""
    command = [sys.executable, str(REPOSITORY / "benchmarks/training_throughput.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603
    (options.out / "training_throughput.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    return {"exit_code": done.returncode, "last": (done.stdout.strip().splitlines() or [""])[-1]}


def train(options: argparse.Namespace) -> Facts:
    """Unpack the data set of kits/training.npz, and train on it until the part's time is over."""
    folder = unpack_training(TRAINING, options.out / "data")
    command = [sys.executable, "-m", "f2pnet.cli", "train", "--dataset", str(folder), "--exp-dir", str(options.out)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PART_S - 60, check=False)  # noqa: S603
        last = (done.stdout.strip().splitlines() or [""])[-1]
    except subprocess.TimeoutExpired:
        last = "ended by the clock; checkpoints are in the output folder"
    return {"last": last}


def unpack_training(archive: Path, folder: Path) -> Path:
    """A data set folder from one array file: `files` (names) and one array of bytes for each."""
    import numpy as np

    with np.load(archive, allow_pickle=False) as arrays:
        for number, name in enumerate(arrays["files"]):
            path = folder / str(name)
            if not path.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{archive} holds {name}, which lies outside of the data set")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(arrays[f"bytes_{number}"].tobytes())
    return folder


def pack_training(folder: Path, archive: Path) -> Path:
    """The inverse of `unpack_training`."""
    import numpy as np

    files = sorted(path for path in folder.rglob("*") if path.is_file())
    arrays = {f"bytes_{number}": np.frombuffer(path.read_bytes(), np.uint8) for number, path in enumerate(files)}
    archive.parent.mkdir(parents=True, exist_ok=True)
    names = np.array([str(path.relative_to(folder)) for path in files])
    np.savez(archive, files=names, **arrays)  # type: ignore[arg-type]
    return archive


def prepare() -> None:
    """Packages and TensorRT-RTX for the machine's Python, from the package registry; a data set of simulated parts."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--only-binary=:all:"]
    pip += ["--python-version", ".".join(map(str, PYTHON))]
    _call([*pip, "--target", str(PACKAGES), *LACKING])
    _call([*pip, "--target", str(PACKAGES), "--no-deps", "--upgrade", "onnxslim"])  # onnx itself is there
    rtx = KITS / "rtx-unpacked"
    _call([*pip, "--target", str(rtx), "tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu13-bindings", "--no-deps"])
    _split(rtx, RTX)
    data = KITS / "parts"
    _call([sys.executable, "-m", "f2pnet.cli", "conveyor", str(data), "--count", "600"])
    print(f"gpu-quick: {pack_training(data, TRAINING)} {size_mib([TRAINING]):.1f} MiB")


def _call(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, timeout=PART_S)  # noqa: S603


def _split(folder: Path, pieces: Sequence[Path]) -> None:
    whole = pieces[0].with_suffix("")
    with tarfile.open(whole, "w:xz", preset=6) as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)
    data = whole.read_bytes()
    half = -(-len(data) // len(pieces))
    for number, piece in enumerate(pieces):
        piece.write_bytes(data[number * half : (number + 1) * half])
    whole.unlink()


STEPS: dict[str, Callable[[argparse.Namespace], Facts]] = {
    "driver": driver,
    "torch sizes": torch_sizes,
    "training rate": training_rate,
    "onnxruntime gate": onnxruntime_gate,
    "line": line,
    "train": train,
}


if __name__ == "__main__":
    sys.exit(main())
