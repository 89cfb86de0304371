"""The lists of the authors' own F2P-Net: `train.json` and `test.json`, an object that is keyed by image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.layouts.entry import GOOD, Entry
from training.layouts.label_tools.labelled import Problems
from training.layouts.paths import find_image
from training.layouts.text_files import as_object, peek_json, read_json, shown

LISTS = {"train.json": "train", "test.json": "test"}


def is_f2pnet(folder: Path) -> bool:
    return any(_is_list(folder / name) for name in LISTS)


def f2pnet(folder: Path) -> Iterator[Entry]:
    """`{key: {image_path, mask_path, label, label_name, object_name}}`. Paths begin at the data set's folder, or at one
    of those above it, as `./data/MT/...` does. The test list is the one that the authors validate on."""
    problems = Problems()
    entries: list[Entry] = []
    for name, split in LISTS.items():
        path = folder / name
        if not path.is_file():
            continue
        with problems.collected():
            for key, given in as_object(read_json(path), str(path)).items():
                with problems.collected():
                    entries.append(_entry(folder, path, key, given, split, problems))
    problems.check()
    yield from entries


def _entry(folder: Path, path: Path, key: str, given: Any, split: str, problems: Problems) -> Entry:
    where = f"{path}: {key!r}"
    record = as_object(given, where)
    label, class_name = record.get("label"), str(record.get("label_name") or "").strip()
    if label not in (0, 1, "0", "1"):
        problems.add(where, f"'label' is {shown(label)}, wanted 0 (good) or 1 (defective)")
    defective = str(label) == "1"
    if class_name.lower() == GOOD and defective:
        problems.add(where, f"'label' is 1 and 'label_name' is '{class_name}': is it good or defective?")
    mask = record.get("mask_path")
    if defective and not mask:
        problems.add(where, "is defective and has no 'mask_path'")
    image = _found(folder, record.get("image_path"), where)
    return Entry(
        f"{split}/{key}",
        image,
        _found(folder, mask, where) if mask else None,
        (class_name or "defect") if defective else GOOD,
        split,
    )


def _found(folder: Path, name: Any, where: str) -> Path:
    """Paths of the authors begin at their working folder; the part below the data set's own name counts."""
    text = str(name or "").replace("\\", "/")
    parts = Path(text).parts
    own = folder.resolve().name
    below = Path(*parts[parts.index(own) + 1 :]).as_posix() if own in parts[:-1] else text
    places = (folder, folder / "images", folder / "masks")
    return find_image(below if below != "." else None, folder, places, where)


def _is_list(path: Path) -> bool:
    content = peek_json(path) if path.is_file() else None
    if not isinstance(content, dict) or not content:
        return False
    first = next(iter(content.values()))
    return isinstance(first, dict) and "image_path" in first
