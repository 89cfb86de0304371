"""One golden file against our network: the relative error of every array in it."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.configuration import SIZES, network_config
from models.f2pnet import build_network
from models.golden.cases import Cases
from models.golden.entries import Entry, f2pnet_entries, sam_entries
from models.golden.fill_rule import fill_by_rule
from models.sam import build_sam

Array = NDArray[Any]

FILE_NAME = re.compile(r"(f2p|sam)_(" + "|".join(SIZES) + r")(_\w+)?\.npz")
FACETS = ("__stride", "__shape", "__stats")
AREA_SLACK_PX, AREA_SLACK_SHARE = 2, 0.0005
"""A union mask may differ by this much: pixels whose logit is zero to within rounding fall either way."""


@dataclass(frozen=True)
class Comparison:
    """How far one array lies from its golden one: relative L2, 0 for equal, infinite where they cannot be compared."""

    entry: str
    relative_error: float
    note: str = ""


def compare_file(path: Path, cases: Cases) -> Iterator[Comparison]:
    """Every array of the file. Raises ValueError where the file's name does not say which network it is of."""
    match = FILE_NAME.fullmatch(path.name)
    if match is None:
        raise ValueError(f"{path.name} names no network; golden files are called f2p_SIZE.npz or sam_SIZE.npz")
    with np.load(path, allow_pickle=False) as golden, torch.inference_mode():
        entries = _sam_entries if match[1] == "sam" else _f2pnet_entries
        compared = set()
        for name, value in entries(match[2], cases, _labels(golden)):
            if name in golden.files and name not in compared:
                compared.add(name)
                yield from _compare_entry(name, value, golden)
        for name in golden.files:
            if name not in compared and not name.endswith(FACETS):
                yield Comparison(name, math.inf, "our network has no such entry")


def _labels(golden: Mapping[str, Array]) -> list[str]:
    """Names of the pictures in a file; entries without one (constants of the weights) have no `__` of their own."""
    entries = {name.removesuffix(facet) for facet in FACETS for name in golden if name.endswith(facet)} | set(golden)
    return sorted({name.split("__")[0] for name in entries if "__" in name and not name.startswith("hq_feature")})


def _f2pnet_entries(size: str, cases: Cases, labels: list[str]) -> Iterator[Entry]:
    """A label that ends in `norm` means the picture normalised, where the published code would not."""
    network = build_network(network_config(size, mode="reference")).eval()
    fill_by_rule(network, cases.salt)
    for label in labels:
        skip_norm = any(picture.name == label for picture in cases.pictures)
        picture = cases.picture(label if skip_norm else label.removesuffix("norm"))
        for name, value in f2pnet_entries(network, picture, skip_norm_1024=skip_norm):
            yield (name if name == "hq_feature" else f"{label}__{name}"), value


def _sam_entries(size: str, cases: Cases, labels: list[str]) -> Iterator[Entry]:
    config = network_config(size)
    sam = build_sam(config).eval()
    fill_by_rule(sam, cases.salt)
    for label in labels:
        for name, value in sam_entries(sam, config, cases.picture(label)):
            yield f"{label}__{name}", value


def _compare_entry(name: str, value: torch.Tensor | int, golden: Mapping[str, Array]) -> Iterator[Comparison]:
    expected = golden[name]
    if isinstance(value, int):
        yield _compare_number(name, value, int(expected))
        return
    ours = value.detach().numpy()
    if f"{name}__stride" in golden:
        shape = tuple(int(n) for n in golden[f"{name}__shape"])
        if shape != ours.shape:
            yield Comparison(name, math.inf, f"shape {ours.shape} instead of {shape}")
            return
        yield Comparison(f"{name}__stats", relative_error(statistics(ours), golden[f"{name}__stats"]))
        ours = sample(ours, golden[f"{name}__stride"])
    if ours.shape != expected.shape:
        yield Comparison(name, math.inf, f"shape {ours.shape} instead of {expected.shape}")
        return
    yield Comparison(name, relative_error(ours, expected))


def _compare_number(name: str, ours: int, expected: int) -> Comparison:
    if name.endswith("assembled_area"):
        difference = abs(ours - expected)
        allowed = AREA_SLACK_PX + AREA_SLACK_SHARE * expected
        return Comparison(name, 0.0 if difference <= allowed else difference / max(expected, 1), f"{difference} px off")
    if name.endswith("assembled_crc"):
        return Comparison(name, 0.0, "equal" if ours == expected else "differs by single pixels, which is allowed")
    return Comparison(name, 0.0 if ours == expected else math.inf, "" if ours == expected else "check sum differs")


def sample(values: Array, strides: Array) -> Array:
    """Indices s//2, s//2 + s, ... on each axis of stride s > 1, all where s = 1."""
    return values[tuple(slice(int(s) // 2 if s > 1 else 0, None, int(s)) for s in strides)]


def statistics(values: Array) -> Array:
    """Mean, population standard deviation, minimum and maximum, in double."""
    exact = values.astype(np.float64)
    return np.array([exact.mean(), exact.std(), exact.min(), exact.max()])


def relative_error(ours: Array, expected: Array) -> float:
    """|| ours - expected || / || expected ||; infinite for what is not a number."""
    difference = np.linalg.norm(ours.astype(np.float64).ravel() - expected.astype(np.float64).ravel())
    if not np.isfinite(difference):
        return math.inf
    scale = float(np.linalg.norm(expected.astype(np.float64).ravel()))
    if scale == 0:
        return 0.0 if difference == 0 else math.inf
    return float(difference) / scale
