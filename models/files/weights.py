"""Named tensors from files into networks: read safely, fitted strictly, refused with the reason."""

import pickle
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHOWN = 5
"""Names that an error message spells out."""


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message names the file, what is wrong and what would be right."""


def read_pth(path: Path) -> dict[str, Tensor]:
    """A state dict saved by torch.save. Only tensors are unpickled; anything else in the file is refused, not run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that torch did not write; they are refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors, or is damaged; it was not loaded ({_reason(error)})"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, IndexError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read as a PyTorch checkpoint ({_reason(error)})") from error
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    ):
        raise CheckpointError(f"{path} holds a {type(content).__name__}; it must be a state dict, names to tensors")
    return dict(content)


def _reason(error: Exception) -> str:
    """The first sentence of what torch says; it goes on with advice, such as to load the file without any check."""
    text = str(error)
    if named := re.search(r"(?:GLOBAL|global:?|class) `?([\w.]+\.[\w.]+)", text):
        return f"it names {named[1]}, which is no tensor"
    _, _, of_unpickler = text.partition("WeightsUnpickler error:")
    lines = (of_unpickler or text).strip().splitlines()
    return lines[0].strip().split(". ")[0] if lines else type(error).__name__


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .pth or a safetensors file, distinguished by its first bytes.

    Raises CheckpointError for a file that is neither, is damaged, or holds anything but tensors.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be opened: {error}") from error
    if not is_safetensors(start):
        return read_pth(path)
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as a safetensors file: {error}") from error


def is_safetensors(start: bytes) -> bool:
    """Whether a file that begins with these 9 bytes is to be read as one: byte 8 begins a header in JSON.

    The bytes before it are a length, and may look like anything, also like the start of a torch file.
    """
    return start[8:9] == b"{"


def fill(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copies `tensors` into `module`. Raises CheckpointError unless names and shapes are the same on both sides."""
    require_fit(module, tensors, source)
    with torch.no_grad():
        for name, target in module.state_dict().items():
            target.copy_(tensors[name])


def require_fit(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Raises CheckpointError unless names and shapes are the same on both sides."""
    wanted = module.state_dict()
    require_names(wanted, tensors, source)
    misfits = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if tensors[name].shape != wanted[name].shape
    ]
    if misfits:
        raise CheckpointError(f"{source} does not fit: wrong shapes {some(misfits)}")


def require_names(wanted: Iterable[str], found: Iterable[str], source: str) -> None:
    """Raises CheckpointError unless both hold the same names."""
    missing, unexpected = set(wanted) - set(found), set(found) - set(wanted)
    if missing or unexpected:
        raise CheckpointError(f"{source} does not fit: missing {some(missing)}; unexpected {some(unexpected)}")


def fit_tables(tensors: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Resamples the tables whose size follows the token grid to that of `module`; all else stays as it is.

    These are the position embedding (bicubic), the relative positions of blocks that see the whole grid (linear),
    and the rows of EVPT's up-projection, one for each token (bilinear).
    """
    wanted = module.state_dict()
    fitted = dict(tensors)
    for name, tensor in tensors.items():
        if name not in wanted or wanted[name].shape == tensor.shape:
            continue
        shape = wanted[name].shape
        if name.endswith("pos_embed"):
            fitted[name] = _resample(tensor.permute(0, 3, 1, 2), shape[1:3], "bicubic").permute(0, 2, 3, 1)
        elif name.endswith(("rel_pos_h", "rel_pos_w")):
            fitted[name] = F.interpolate(tensor.T[None], size=shape[0], mode="linear")[0].T
        elif ".hf_up." in name:
            fitted[name] = _resample_rows(tensor, shape[0])
    return fitted


def _resample_rows(tensor: Tensor, tokens: int) -> Tensor:
    """(T, ...) with one row for each token of a square grid -> (tokens, ...)"""
    old, new = round(tensor.shape[0] ** 0.5), round(tokens**0.5)
    grid = tensor.reshape(1, old, old, -1).permute(0, 3, 1, 2)
    resampled = _resample(grid, (new, new), "bilinear").permute(0, 2, 3, 1)
    return resampled.reshape(tokens, *tensor.shape[1:])


def _resample(grid: Tensor, size: Iterable[int], mode: str) -> Tensor:
    return F.interpolate(grid, size=tuple(size), mode=mode, align_corners=False)


def some(names: Iterable[str]) -> str:
    """A few of the names, and how many more there are."""
    ordered = sorted(names)
    if not ordered:
        return "none"
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return ", ".join(ordered[:SHOWN]) + more
