"""What is wrong with a data set, found before a training believes it: leaks between its lists, and unusable records."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from f2pnet.errors import ConfigError
from f2pnet.pictures.folder import list_folder
from f2pnet.text import printable
from training.data.examples import MaskForms, UnusableImage, read_example
from training.data.masks import UnusableMask
from training.data.records import BIT_DEPTHS, ImageFile, as_record, load_entries

Entry = dict[str, Any]
Gravity = Literal["leak", "error", "note"]
Pair = tuple[ImageFile, ImageFile, float]
EXAMPLES = 5
STATE_FILE = "source-state.txt"
"""Ours, beside the index of a data set in another layout: what its files were like."""
FILE_KEYS = ("image", "mask", "mask_class")


@dataclass
class Finding:
    """One kind of problem. `leak` and `error` fail the check; a `note` is something to know."""

    gravity: Gravity
    what: str
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str, reason: str | None = None) -> None:
        """Count one more. The first example stands with its reason, which mostly is that of all."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(example if reason is None or self.examples else f"{example} ({reason})")


@dataclass(frozen=True)
class Check:
    """Everything that was found. `pairs`: (training image, test image, correlation) of pictures of one thing."""

    images: dict[str, int]  # by list
    findings: list[Finding]
    pairs: list[Pair]

    @property
    def passes(self) -> bool:
        return not any(finding.gravity in ("leak", "error") for finding in self.findings)


def check_dataset(folder: Path, train_list: str, test_list: str) -> Check:
    """Look at every record and picture of two lists of a data set folder.

    Raises MissingResource without the training list. Without the test list there is nothing to leak into, and that is
    noted.
    """
    lists = {train_list: load_entries(folder / train_list)}
    findings: dict[str, Finding] = {}
    if (folder / test_list).is_file():
        lists[test_list] = load_entries(folder / test_list)
    else:
        _finding(findings, "note", "no test list: leaks can't be looked for").add(test_list)
    for name, entries in lists.items():
        _check_records(folder, name, entries, findings)
    _check_unlisted(folder, lists, findings)
    pairs: list[Pair] = []
    if test_list in lists:
        _check_ids_and_parts(lists[train_list], lists[test_list], findings)
        pairs = list(_same_pictures(folder, lists[train_list], lists[test_list], findings))
    return Check({name: len(entries) for name, entries in lists.items()}, list(findings.values()), pairs)


def unusable(lists: Sequence[tuple[Path, str]]) -> list[str]:
    """What makes records of these lists (folder, name) unusable, a line for each kind of problem in each list."""
    lines = []
    for folder, name in lists:
        findings: dict[str, Finding] = {}
        if (folder / name).is_file():
            _check_records(folder, name, load_entries(folder / name), findings)
        else:
            _finding(findings, "error", "no such list").add(name)
        for found in findings.values():
            if found.gravity == "error":
                rest = found.count - len(found.examples)
                more = f" and {rest} more" if rest else ""
                lines.append(f"{folder / name}: {found.what}: {', '.join(found.examples)}{more}")
    return lines


def _finding(findings: dict[str, Finding], gravity: Gravity, what: str) -> Finding:
    return findings.setdefault(what, Finding(gravity, what))


def _check_records(folder: Path, name: str, entries: Sequence[Entry], findings: dict[str, Finding]) -> None:
    if not entries:
        _finding(findings, "error", "empty list").add(name)
    if entries and not any(entry.get("label") == 1 for entry in entries):
        _finding(findings, "error", "no defective image in the list").add(name)
    for identity, count in Counter(str(entry.get("id")) for entry in entries).items():
        if count > 1:
            _finding(findings, "error", "id stands more than once in a list").add(f"{identity} ({name}, {count} times)")
    forms = MaskForms()
    for entry in entries:
        for gravity, what, reason in _problems(folder, entry, forms):
            _finding(findings, gravity, what).add(str(entry.get("id")), reason)
    try:
        forms.check()
    except UnusableMask as error:
        _finding(findings, "error", error.kind).add(str(error))


def _problems(folder: Path, entry: Entry, forms: MaskForms) -> Iterator[tuple[Gravity, str, str | None]]:
    """(gravity, what, reason) of what `f2p train` would refuse in a record, by the same functions, and of what is
    worth knowing."""
    if not isinstance(entry.get("id"), str) or entry.get("label") not in (0, 1):
        yield "error", "record without an id, or with a label that is not 0 or 1", None
        return
    if not isinstance(entry.get("image"), str):
        yield "error", UnusableImage.kind, None
        return
    if entry["label"] == 1 and not entry.get("mask"):
        yield "error", "defective, and no mask", None
        return
    try:
        record = as_record(entry, folder)
        example = read_example(record)
    except UnusableImage as error:
        yield "error", error.kind, error.reason
        return
    except UnusableMask as error:
        yield "error", error.kind, None
        return
    except ConfigError as error:
        yield "error", str(error), None
        return
    forms.add(record, example)
    if example.form == "indices" and example.mask.any():
        yield "note", "mask holds class indices: every value above 0 counts as defect", None
    if example.form == "soft":
        yield "note", "mask has soft edges: grey from 128 on counts as defect", None
    if example.ignored is not None and example.ignored.any():
        yield "note", "mask has ignored pixels (255 beside class indices): neither defect nor background", None
    if 2 * int(example.mask.sum()) > example.mask.size:
        yield "note", "defect covers more than half of the image: is the mask inverted?", None


def _check_unlisted(folder: Path, lists: dict[str, list[Entry]], findings: dict[str, Finding]) -> None:
    """Name what lies in the folder and is not used: pictures that no list names, and what is not read at all."""
    named = {folder / str(entry.get(key)) for entries in lists.values() for entry in entries for key in FILE_KEYS}
    listing = list_folder(folder, subfolders=True, videos=True)
    for path in listing.files:
        if path not in named:
            _finding(findings, "note", "picture that none of the lists names").add(_below(path, folder))
    for each in listing.passed_over:
        if each.path.suffix != ".json" and each.path.name != STATE_FILE:
            _finding(findings, "note", f"passed over: {each.reason}").add(_below(each.path, folder))


def _file(folder: Path, entry: Entry) -> ImageFile:
    depth = entry.get("bit_depth")
    return ImageFile(folder / str(entry.get("image")), depth if depth in BIT_DEPTHS else None)


def _below(path: Path, folder: Path) -> str:
    return printable(path.relative_to(folder))


def _check_ids_and_parts(train: Sequence[Entry], test: Sequence[Entry], findings: dict[str, Finding]) -> None:
    ids = {entry.get("id") for entry in train}
    parts: dict[str, list[str]] = defaultdict(list)
    for entry in train:
        if entry.get("part_id"):
            parts[entry["part_id"]].append(str(entry.get("id")))
    for entry in test:
        if entry.get("id") in ids:
            _finding(findings, "leak", "id in both lists").add(str(entry.get("id")))
        if siblings := parts.get(entry.get("part_id") or ""):
            _finding(findings, "leak", "test image whose part_id is in training").add(
                f"{entry.get('id')} ({entry['part_id']}, as {siblings[0]})"
            )


def _same_pictures(
    folder: Path, train: Sequence[Entry], test: Sequence[Entry], findings: dict[str, Finding]
) -> Iterator[Pair]:
    """Pairs whose pictures show one thing, whatever their part_id says."""
    from training.data.duplicates import matches, structures  # torch takes seconds, which help need not wait for

    files = [[_file(folder, entry) for entry in entries] for entries in (train, test)]
    (first, of_first), (second, of_second) = (structures(each) for each in files)
    for match in matches(first, second):
        here, there = of_first[match.first], of_second[match.second]
        _finding(findings, "leak", "test picture that shows what a training picture shows").add(
            f"{test[there].get('id')} as {train[here].get('id')} (correlation {match.correlation:.2f})"
        )
        yield files[0][here], files[1][there], match.correlation
