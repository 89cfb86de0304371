"""SAM-sized networks to ONNX: `python benchmarks/large_export.py GOLDEN vit_b`.

Weights by the rule of the golden folder, mode `reference`, 1024 x 1024. Prints JSON: seconds and peak memory of the
export, size of the files, the largest differences from the golden outputs, and the time of one image on ONNX Runtime
and on torch, in turns, in this one process.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from export.graph import INPUT_NAME, onnx_from_network
from models.configuration import network_config
from models.deploy import AutoNetwork
from models.f2pnet import build_network
from models.golden.cases import Cases
from models.golden.comparison import sample
from models.golden.fill_rule import fill_by_rule

PICTURE, LABEL = "C", "Cnorm"
"""The picture that has the network's size already, so that the graph's own normalisation is all that happens to it."""
GOLDEN_FILES = {"vit_b": "f2p_vit_b_generalised.npz", "vit_l": "f2p_vit_l.npz"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("golden", type=Path)
    parser.add_argument("size", choices=sorted(GOLDEN_FILES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cases = Cases.read(options.golden)
    network = build_network(network_config(options.size, mode="reference")).eval()
    fill_by_rule(network, cases.salt)
    pixels = cases.picture(PICTURE).pixels[None]
    with tempfile.TemporaryDirectory(prefix="f2p-large-") as scratch:
        path = Path(scratch, "model.onnx")
        started = time.monotonic()
        onnx_from_network(network, path)
        facts = {"size": options.size, "export_s": time.monotonic() - started, "export_peak_gb": peak_gb()}
        facts["files_mb"] = {file.name: file.stat().st_size / 1e6 for file in sorted(Path(scratch).iterdir())}
        session = open_session(path, options.threads)
        names = [output.name for output in session.get_outputs()]
        facts["golden"] = differences(
            dict(zip(names, session.run(names, {INPUT_NAME: pixels}), strict=True)),
            options.golden / GOLDEN_FILES[options.size],
        )
        deployed = AutoNetwork(network).eval()
        facts |= medians(
            {
                "onnxruntime_s": lambda: session.run(names, {INPUT_NAME: pixels}),
                "torch_s": lambda: deployed(torch.from_numpy(pixels)),
            },
            options.runs,
        )
        facts |= {"threads": options.threads, "peak_gb": peak_gb()}
    print(json.dumps(facts, indent=2))


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


def differences(found: dict[str, np.ndarray], golden_file: Path) -> dict[str, float]:
    """Largest absolute difference of each probability from the golden one."""
    with np.load(golden_file) as golden:
        mask_logits = golden[f"{LABEL}__none__mask_lowres"].astype(np.float64)
        pixel = golden[f"{LABEL}__none__pixel_lowres"]
        strides = golden.get(f"{LABEL}__none__pixel_lowres__stride")
        score = golden[f"{LABEL}__none__image_score"]
    pixel_map = found["pixel_map"][:, None]
    pixel_map = pixel_map if strides is None else sample(pixel_map, strides)
    mask = found["mask"][0, 2::4, 2::4]
    return {
        "mask": float(np.abs(mask - 1 / (1 + np.exp(-mask_logits.reshape(mask.shape)))).max()),
        "pixel_map": float(np.abs(pixel_map - pixel.reshape(pixel_map.shape)).max()),
        "score": float(np.abs(found["score"] - score.reshape(-1)).max()),
    }


@torch.inference_mode()
def medians(runs: dict[str, Callable[[], object]], count: int) -> dict[str, float]:
    """Median seconds of each, taken in turns, so that what else the machine does falls on all alike."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(count):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in taken.items()}


def peak_gb() -> float:
    """The most memory this process ever held; export starts no other."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
