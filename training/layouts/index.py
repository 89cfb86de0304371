"""`f2p data index`: the index files of our layout for a data set in another one; images stay where they are."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from f2pnet.commands.output_places import try_folder
from f2pnet.errors import ConfigError, F2pError
from f2pnet.pictures.folder import describe, list_folder
from f2pnet.text import printable
from training.data.few_shot import few_shot_lists
from training.data.masks import read_mask
from training.data.records import ImageFile, Record, split_by_part
from training.layouts import f2pnet_lists, mvtec, plain, published
from training.layouts.entry import INDEX_FOLDER, Entry, images_below
from training.layouts.label_tools import coco, cvat, label_studio, labelme, voc, yolo

TEST_SHARE = 0.3
SPLIT_SEED = 3407
LABEL_SUFFIXES = (".json", ".txt", ".xml", ".yaml", ".yml", ".csv", ".md")
MASKS = "masks"
NAMED = 5


@dataclass(frozen=True)
class Layout:
    """How a layout is recognised by its files, and read. `read` gets the source and a folder for masks it must draw.

    `names_images`: its own files list the images, so that one in the folder which they leave out is worth a remark.
    """

    title: str
    recognise: Callable[[Path], bool]
    read: Callable[[Path, Path], Iterator[Entry]]
    names_images: bool = False


LAYOUTS = {
    "neu-seg": Layout("NEU-Seg", published.is_neu_seg, lambda folder, _: published.neu_seg(folder)),
    "mt": Layout("MT", published.is_magnetic_tiles, lambda folder, _: published.magnetic_tiles(folder)),
    "kolektorsdd2": Layout(
        "KolektorSDD2", published.is_kolektor_sdd2, lambda folder, _: published.kolektor_sdd2(folder)
    ),
    "dagm2007": Layout("DAGM2007", published.is_dagm, lambda folder, _: published.dagm(folder)),
    "mvtec": Layout("MVTec-AD", mvtec.is_mvtec, lambda folder, _: mvtec.mvtec(folder)),
    "f2pnet": Layout(
        "lists of the authors' F2P-Net", f2pnet_lists.is_f2pnet, lambda folder, _: f2pnet_lists.f2pnet(folder)
    ),
    "coco": Layout("COCO JSON", coco.is_coco, coco.coco, names_images=True),
    "label-studio": Layout(
        "Label Studio export", label_studio.is_label_studio, label_studio.label_studio, names_images=True
    ),
    "cvat": Layout("CVAT for images (XML)", cvat.is_cvat, cvat.cvat, names_images=True),
    "voc": Layout("Pascal VOC masks", voc.is_voc, voc.voc),
    "yolo": Layout("YOLO segmentation", yolo.is_yolo, yolo.yolo),
    "labelme": Layout("LabelMe", labelme.is_labelme, labelme.labelme),
    "plain": Layout("images/ and masks/", plain.is_plain, lambda folder, _: plain.plain(folder)),
}
"""In this order: the first whose files are there is taken."""


@dataclass(frozen=True)
class Indexed:
    """What was written: `counts` of images by list and class name, and the sizes of the few-shot lists.

    `left_out` names the images that are in no list; `remarks` say what a reader of the lists must know: which layout
    was taken where several fit, what counts as good for want of an annotation, how the images were divided.
    """

    layout: str
    folder: Path
    counts: dict[str, Counter[str]]
    shots: tuple[int, ...]
    left_out: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def recognised(folder: Path) -> str | None:
    """The name of the layout that the folder has, None where it has none that we know."""
    return next(iter(all_recognised(folder)), None)


def all_recognised(folder: Path) -> list[str]:
    """The names of all layouts that fit the folder's files, the one to take first."""
    return [name for name, layout in LAYOUTS.items() if layout.recognise(folder)]


def index(source: Path, out: Path, layout: str | None = None, bit_depth: int | None = None) -> Indexed:
    """Write train.json, test.json and few_shot.json of `source` into `out`, with paths relative to it.

    Images that the source doesn't divide are divided here: whole parts, about 30 % to the test, classes alike;
    pictures that show one thing (`training.data.duplicates`) stay on one side. `bit_depth`: bits that 16-bit pixels
    fill, where the files do not say.
    Raises ConfigError where the folder has no known layout, or a file in it doesn't fit.
    """
    name = layout or recognised(source)
    if name not in LAYOUTS:
        known = ", ".join(f"{key} ({each.title})" for key, each in LAYOUTS.items())
        seen = "no known layout" if name is None else f"layout '{name}'"
        raise ConfigError(f"{source}: {seen}, wanted one of: {known}")
    remarks = _other_layouts(source, name) if layout is None else []
    with _writable(out):
        entries = list(LAYOUTS[name].read(source, out / MASKS))
        if not entries:
            raise ConfigError(f"{source}: no images in the layout {LAYOUTS[name].title}")
        entries = [_checked(replace(entry, bit_depth=bit_depth)) for entry in _once(entries)]
        kept = [entry for entry in entries if entry.left_out is None]
        remarks += _remarks(kept, [entry for entry in entries if entry.left_out])
        remarks += _passed_over(source)
        remarks += _not_named(source, entries, out) if LAYOUTS[name].names_images else []
        lists = _divided(kept)
        for list_name, chosen in lists.items():
            _write(out / f"{list_name}.json", [_plain(entry, out) for entry in chosen])
        shots = few_shot_lists([_record(entry) for entry in lists["train"]], SPLIT_SEED)
        _write(out / "few_shot.json", shots)
    counts = {list_name: Counter(entry.class_name for entry in chosen) for list_name, chosen in lists.items()}
    left_out = tuple(entry.id for entry in entries if entry.left_out)
    return Indexed(LAYOUTS[name].title, out, counts, tuple(map(int, shots)), left_out, tuple(remarks))


@contextmanager
def _writable(out: Path) -> Iterator[None]:
    """Tries the place before the work begins, and leaves no half of an index behind."""
    is_new = not out.exists()
    try_folder(out, "--out")
    try:
        yield
    except (F2pError, OSError):
        if is_new:
            shutil.rmtree(out, ignore_errors=True)
        raise


def _once(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Each image of a list once: a good one may stand in `good/` and among the annotated pictures too."""
    known: dict[tuple[Path, str | None], Entry] = {}
    for entry in entries:
        first = known.setdefault((entry.image, entry.split), entry)
        if first.label != entry.label:
            raise ConfigError(f"{entry.image} stands as good and as defective: wanted one of both")
        if first is entry:
            yield entry


def _checked(entry: Entry) -> Entry:
    """A defect by its folder or list whose mask is empty can't be learnt from: MT has four."""
    if entry.left_out or not entry.label or entry.mask is None or read_mask(entry.mask).defect.any():
        return entry
    return replace(entry, left_out="a defect by name with an empty mask")


def _other_layouts(source: Path, taken: str) -> list[str]:
    others = [name for name in all_recognised(source) if name != taken]
    if not others:
        return []
    titles = " and ".join(LAYOUTS[name].title for name in others)
    return [f"read as {LAYOUTS[taken].title}; it also looks like {titles} (`--layout {others[0]}` of `f2p data index`)"]


def _remarks(kept: Sequence[Entry], left_out: Sequence[Entry]) -> list[str]:
    remarks = []
    if bare := [entry.id for entry in kept if not entry.label and entry.mask is None]:
        remarks.append(f"{len(bare)} images without a mask or an annotation count as good: {_few(bare)}")
    for reason, count in Counter(entry.left_out for entry in left_out).items():
        names = [entry.id for entry in left_out if entry.left_out == reason]
        remarks.append(f"{count} images are left out, {reason}: {_few(names)}")
    if undivided := sum(entry.split is None for entry in kept):
        remarks.append(
            f"{undivided} images are divided here: about {TEST_SHARE:.0%} to the test list, pictures of one thing "
            "together; the same images give the same lists"
        )
    return remarks


def _passed_over(source: Path) -> list[str]:
    """What lies in the folder and is neither a picture nor a label file, with what could not be looked into."""
    found = list_folder(source, subfolders=True, videos=False).passed_over
    others = [each for each in found if each.path.suffix.lower() not in LABEL_SUFFIXES]
    return [describe(others)] if others else []


def _not_named(source: Path, entries: Sequence[Entry], out: Path) -> list[str]:
    """The pictures of the folder that its annotations do not name."""
    used = {path.resolve() for entry in entries for path in (entry.image, entry.mask, entry.class_mask) if path}
    ours = {source / INDEX_FOLDER, out}
    spare = [path for path in images_below(source) if path.resolve() not in used and not ours & {*path.parents}]
    names = _few([printable(path.relative_to(source)) for path in spare])
    return [f"{len(spare)} pictures are not named by the annotations, and not used: {names}"] if spare else []


def _few(names: Sequence[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _divided(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """A validation list becomes the test list where there is none; else it trains, since training holds out its own."""
    lists: dict[str, list[Entry]] = {"train": [], "test": []}
    validates = "train" if any(entry.split == "test" for entry in entries) else "test"
    entries = [replace(entry, split=validates) if entry.split == "val" else entry for entry in entries]
    undivided = _joined([entry for entry in entries if entry.split is None])
    training, _ = split_by_part([_record(entry) for entry in undivided], TEST_SHARE, SPLIT_SEED)
    to_train = {record.id for record in training}
    for entry in (*(entry for entry in entries if entry.split), *undivided):
        lists[entry.split or ("train" if entry.id in to_train else "test")].append(entry)
    return lists


def _joined(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, with parts whose pictures show one thing made one: names suggest parts, pictures prove them."""
    from training.data.duplicates import pairs, structures  # torch takes seconds, which help need not wait for

    images, places = structures([ImageFile(entry.image, entry.bit_depth) for entry in entries])
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
        "bit_depth": entry.bit_depth,
    }
    return {key: value for key, value in record.items() if value is not None}


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
