"""`f2p data index`: the index files of our layout for a data set in another one; images stay where they are."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2

from f2pnet.errors import ConfigError
from training.duplicates import pairs, structures
from training.few_shot import few_shot_lists
from training.layouts import coco, mvtec, published
from training.layouts.entry import Entry
from training.records import Record, split_by_part

TEST_SHARE = 0.3
SPLIT_SEED = 3407
MASKS = "masks"


@dataclass(frozen=True)
class Layout:
    """How a layout is recognised by its files, and read. `read` gets the source and a folder for masks it must draw."""

    title: str
    recognise: Callable[[Path], bool]
    read: Callable[[Path, Path], Iterator[Entry]]


LAYOUTS = {
    "neu-seg": Layout("NEU-Seg", published.is_neu_seg, lambda folder, _: published.neu_seg(folder)),
    "mt": Layout("MT", published.is_magnetic_tiles, lambda folder, _: published.magnetic_tiles(folder)),
    "kolektorsdd2": Layout(
        "KolektorSDD2", published.is_kolektor_sdd2, lambda folder, _: published.kolektor_sdd2(folder)
    ),
    "dagm2007": Layout("DAGM2007", published.is_dagm, lambda folder, _: published.dagm(folder)),
    "mvtec": Layout("MVTec-AD", mvtec.is_mvtec, lambda folder, _: mvtec.mvtec(folder)),
    "coco": Layout("COCO JSON", coco.is_coco, coco.coco),
}


@dataclass(frozen=True)
class Indexed:
    """What was written: `counts` of images by list and class name, and the sizes of the few-shot lists.

    `left_out` names the images that stand under a defect and have an empty mask: MT has four, and none can be learnt
    from.
    """

    layout: str
    folder: Path
    counts: dict[str, Counter[str]]
    shots: tuple[int, ...]
    left_out: tuple[str, ...]


def recognised(folder: Path) -> str | None:
    """The name of the layout that the folder has, None where it has none that we know."""
    return next((name for name, layout in LAYOUTS.items() if layout.recognise(folder)), None)


def index(source: Path, out: Path, layout: str | None = None) -> Indexed:
    """Write train.json, test.json and few_shot.json of `source` into `out`, with paths relative to it.

    Images that the source doesn't divide are divided here: whole parts, about 30 % to the test, classes alike;
    pictures that show one thing (`training.duplicates`) stay on one side.
    Raises ConfigError where the folder has no known layout, or a file in it doesn't fit.
    """
    name = layout or recognised(source)
    if name not in LAYOUTS:
        known = ", ".join(f"{key} ({each.title})" for key, each in LAYOUTS.items())
        seen = "no known layout" if name is None else f"layout '{name}'"
        raise ConfigError(f"{source}: {seen}, wanted one of: {known}")
    entries = list(LAYOUTS[name].read(source, out / MASKS))
    if not entries:
        raise ConfigError(f"{source}: no images in the layout {LAYOUTS[name].title}")
    left_out = tuple(entry.id for entry in entries if _without_its_defect(entry))
    lists = _divided([entry for entry in entries if entry.id not in left_out])
    out.mkdir(parents=True, exist_ok=True)
    for list_name, kept in lists.items():
        _write(out / f"{list_name}.json", [_plain(entry, out) for entry in kept])
    shots = few_shot_lists([_record(entry) for entry in lists["train"]], SPLIT_SEED)
    _write(out / "few_shot.json", shots)
    counts = {list_name: Counter(entry.class_name for entry in kept) for list_name, kept in lists.items()}
    return Indexed(LAYOUTS[name].title, out, counts, tuple(map(int, shots)), left_out)


def _without_its_defect(entry: Entry) -> bool:
    if not entry.label or entry.mask is None:
        return False
    mask = cv2.imread(str(entry.mask), cv2.IMREAD_UNCHANGED)
    return mask is not None and not mask.any()


def _divided(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    lists: dict[str, list[Entry]] = {"train": [], "test": []}
    undivided = _joined([entry for entry in entries if entry.split is None])
    training, _ = split_by_part([_record(entry) for entry in undivided], TEST_SHARE, SPLIT_SEED)
    to_train = {record.id for record in training}
    for entry in (*(entry for entry in entries if entry.split), *undivided):
        lists[entry.split or ("train" if entry.id in to_train else "test")].append(entry)
    return lists


def _joined(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, with parts whose pictures show one thing made one: names tell of parts, pictures prove them."""
    images, places = structures([entry.image for entry in entries])
    joined = {_part(entry): _part(entry) for entry in entries}

    def root(part: str) -> str:
        while joined[part] != part:
            part = joined[part]
        return part

    for first, second in pairs(images):
        joined[root(_part(entries[places[second]]))] = root(_part(entries[places[first]]))
    return [replace(entry, part_id=root(_part(entry))) for entry in entries]


def _part(entry: Entry) -> str:
    return entry.part_id or entry.id


def _record(entry: Entry) -> Record:
    return Record(entry.id, entry.image, entry.mask, entry.label, entry.class_name, _part(entry), "", entry.class_mask)


def _plain(entry: Entry, out: Path) -> dict[str, Any]:
    """A record of the index; keys that say nothing are left out."""

    def relative(path: Path | None) -> str | None:
        return os.path.relpath(path.resolve(), out.resolve()) if path else None

    record = {
        "id": entry.id,
        "image": relative(entry.image),
        "mask": relative(entry.mask),
        "label": entry.label,
        "class_name": entry.class_name,
        "part_id": entry.part_id,
        "mask_class": relative(entry.class_mask),
    }
    return {key: value for key, value in record.items() if value is not None}


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
