"""The index of a data set folder: which image has which mask, label and part (docs/contract.md)."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from f2pnet.errors import ConfigError, MissingResource

SHOWN_PROBLEMS = 10
BIT_DEPTHS = range(9, 17)
FEW_SHOT_LISTS = ("few_shot_clean.json", "few_shot.json")


class ImageFile(NamedTuple):
    """An image on disk. `bit_depth`: bits that its 16-bit pixels fill, where the file itself does not say."""

    path: Path
    bit_depth: int | None = None


@dataclass(frozen=True)
class Record:
    """One image of a data set. `mask` is None for a good image without a mask file."""

    id: str
    """Unique within the list."""
    image: Path
    """The image file."""
    mask: Path | None
    """Mask file; null for a good image."""
    label: int
    """0 good, 1 defective."""
    class_name: str
    """Defect class; `good` where there is no defect."""
    part_id: str
    """Images of one part stay on one side of every split."""
    dataset: str
    """Name of the data set."""
    class_mask: Path | None = None
    """Mask of class indices, where an image may hold several classes."""
    bit_depth: int | None = None
    """Bits (9 to 16) that the pixels of a 16-bit image fill, where its file does not say."""

    @property
    def file(self) -> ImageFile:
        """The image with what its file may not say."""
        return ImageFile(self.image, self.bit_depth)


def load_entries(path: Path) -> list[dict[str, Any]]:
    """The objects of an index file as they stand there. Raises MissingResource or ConfigError where it is no list."""
    if not path.is_file():
        raise MissingResource(f"no {path.name} in {path.parent}: check the path and the list's name")
    entries = _read_json(path)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"{path}: wanted a list of records")
    return entries


def read_records(folder: Path, list_name: str) -> list[Record]:
    """Read one list of a data set folder.

    Raises MissingResource where the list is not there, ConfigError with all its problems at once.
    """
    path = folder / list_name
    if not path.is_file():
        raise MissingResource(f"no {list_name} in {folder}: check the path and the list's name")
    entries = _read_json(path)
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{path}: wanted a list of at least one record")
    problems: list[str] = []
    records = []
    for position, entry in enumerate(entries):
        if found := list(_problems_of(entry, folder)):
            problems += [f"record {position}: {problem}" for problem in found]
        else:
            records.append(as_record(entry, folder))
    problems += [f"id {name!r} stands {n} times" for name, n in Counter(r.id for r in records).items() if n > 1]
    if problems:
        raise ConfigError(f"{path} does not fit:\n  " + _few(problems, "\n  "))
    return records


def few_shot(records: Sequence[Record], folder: Path, shots: int, list_name: str | None = None) -> list[Record]:
    """The records named by the list of `shots` ids in `list_name`; None takes the clean list before the other."""
    names = FEW_SHOT_LISTS if list_name is None else (list_name,)
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise MissingResource(
            f"no {' or '.join(names)} in {folder}, which names the ids of each few-shot set: "
            f"`f2p data few-shot {folder}` draws one"
        )
    ids_of_shots = _read_json(path)
    if not isinstance(ids_of_shots, dict) or str(shots) not in ids_of_shots:
        known = ", ".join(ids_of_shots) if isinstance(ids_of_shots, dict) else "none"
        raise ConfigError(
            f"{path} has no {shots}-shot list; it has: {known}. Leave --shot-num out to train on all "
            f"{len(records)} images"
        )
    wanted = set(ids_of_shots[str(shots)])
    chosen = [record for record in records if record.id in wanted]
    if missing := wanted - {record.id for record in chosen}:
        raise ConfigError(f"{path}, {shots} shots: not in the training list: {_few(sorted(missing))}")
    return chosen


def class_names(records: Sequence[Record]) -> tuple[str, ...]:
    """The defect classes of the records, sorted; a picture with several joins them by '+' in its class name."""
    return tuple(sorted({name for record in records if record.label for name in record.class_name.split("+")}))


def split_by_part(records: Sequence[Record], share: float, seed: int) -> tuple[list[Record], list[Record]]:
    """Hold out about `share` of the images, whole parts only, with the share of each class kept as far as that allows.

    Returns (training, validation); both keep the order of `records`. The same records and seed give the same split.
    """
    classes: dict[str, Counter[str]] = {}
    for record in records:
        classes.setdefault(record.part_id, Counter())[record.class_name] += 1
    wanted = Counter(record.class_name for record in records)
    missing = {name: share * count for name, count in wanted.items()}
    parts = sorted(classes)
    random.Random(seed).shuffle(parts)
    held: set[str] = set()
    for part in parts:
        # A part goes where it serves: the rarest of its classes decides whether validation still lacks it.
        rarest = min(classes[part], key=lambda name: (wanted[name], name))
        if classes[part][rarest] <= 1.5 * missing[rarest]:
            held.add(part)
            for name, count in classes[part].items():
                missing[name] -= count
    training = [record for record in records if record.part_id not in held]
    return training, [record for record in records if record.part_id in held]


def folds_by_part(records: Sequence[Record], folds: int, seed: int) -> list[list[Record]]:
    """The records in `folds` groups of about one size, whole parts only, each class spread over them as far as that
    allows. The same records and seed give the same folds."""
    rest, groups = list(records), []
    for left in range(folds, 1, -1):
        rest, held = split_by_part(rest, 1 / left, seed)
        groups.append(held)
    return [*groups, rest]


def as_record(entry: dict[str, Any], folder: Path) -> Record:
    """An entry of an index file of `folder`, whose keys have been checked."""
    return Record(
        id=entry["id"],
        image=folder / entry["image"],
        mask=folder / entry["mask"] if entry.get("mask") else None,
        label=entry["label"],
        class_name=entry.get("class_name") or ("defect" if entry["label"] else "good"),
        part_id=entry.get("part_id") or entry["id"],
        dataset=folder.name,
        class_mask=folder / entry["mask_class"] if entry.get("mask_class") else None,
        bit_depth=depth_of(entry),
    )


def depth_of(entry: dict[str, Any]) -> int | None:
    """The bits that 16-bit pixels of the entry's image fill. Raises ConfigError for a number that can't be."""
    depth = entry.get("bit_depth")
    if depth is None or (type(depth) is int and depth in BIT_DEPTHS):
        return depth
    raise ConfigError(f"'bit_depth' is {depth!r}, wanted a number from {BIT_DEPTHS[0]} to {BIT_DEPTHS[-1]}")


def _problems_of(entry: Any, folder: Path) -> Iterable[str]:
    if not isinstance(entry, dict):
        yield f"wanted an object, found {type(entry).__name__}"
        return
    for key in ("id", "image"):
        if not isinstance(entry.get(key), str):
            yield f"'{key}' is {entry.get(key)!r}, wanted a text"
    if entry.get("label") not in (0, 1):
        yield f"'label' is {entry.get('label')!r}, wanted 0 (good) or 1 (defective)"
    elif entry["label"] == 1 and not entry.get("mask"):
        yield f"{entry.get('id')!r} is defective and has no mask"
    try:
        depth_of(entry)
    except ConfigError as error:
        yield str(error)
    for key in ("image", "mask", "mask_class"):
        if isinstance(entry.get(key), str) and not (folder / entry[key]).is_file():
            yield f"no file {entry[key]}"


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error


def _few(items: Sequence[str], separator: str = ", ") -> str:
    rest = len(items) - SHOWN_PROBLEMS
    return separator.join(items[:SHOWN_PROBLEMS]) + (f"{separator}... and {rest} more" if rest > 0 else "")
