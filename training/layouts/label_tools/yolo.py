"""YOLO segmentation labels: a text file for each image, a line for each outline, in shares of the image's sides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from f2pnet.errors import ConfigError
from f2pnet.yaml_file import read_yaml
from training.layouts.entry import Entry, good_images, images_below
from training.layouts.label_tools.labelled import NO_BOX, Labelled, Problems, Shape, drawn, refused, scaled_polygon
from training.layouts.paths import inside, split_of

YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
CLASS_FILES = ("classes.txt", "obj.names", "labels/classes.txt")
IMAGES, LABELS = "images", "labels"
BOX_NUMBERS = 5


def is_yolo(folder: Path) -> bool:
    """`images/` beside `labels/` with text files, in the folder or in the folders of its splits."""
    return any(next((root / LABELS).rglob("*.txt"), None) is not None for root in _roots(folder))


def yolo(folder: Path, masks: Path) -> Iterator[Entry]:
    """An image without a label file, or with an empty one, is good, as in Ultralytics' own data sets.

    Raises ConfigError for boxes, for lines that are no outline, for classes without a name, and for label files
    without an image.
    """
    problems = Problems()
    names = _class_names(folder)
    pictures: list[Labelled] = []
    for root in _roots(folder):
        with problems.collected():
            pictures += _of_root(folder, root, names, problems)
    problems.check()
    yield from good_images(folder)
    yield from drawn(pictures, masks)


def _roots(folder: Path) -> list[Path]:
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir() and split_of([path.name]))]
    return [place for place in places if (place / IMAGES).is_dir() and (place / LABELS).is_dir()]


def _of_root(folder: Path, root: Path, names: dict[int, str] | None, problems: Problems) -> Iterator[Labelled]:
    files = {
        path.relative_to(root / LABELS).with_suffix("").as_posix(): path for path in (root / LABELS).rglob("*.txt")
    }
    lists = _listed(folder)
    for image in images_below(root / IMAGES):
        place = image.relative_to(folder)
        label = files.pop(image.relative_to(root / IMAGES).with_suffix("").as_posix(), None)
        shapes = [] if label is None else list(_shapes(label, names, problems))
        part = image.name.split(".rf.")[0] if ".rf." in image.name else None
        split = lists.get(place.as_posix()) or split_of(place.parts[:-1])
        yield Labelled(place.as_posix(), image, shapes, str(label or image), split, part)
    for name, label in sorted(files.items()):
        if name != "classes":
            problems.add(str(label), f"belongs to no image: wanted one of its name in {root / IMAGES}")


def _shapes(label: Path, names: dict[int, str] | None, problems: Problems) -> Iterator[Shape]:
    try:
        lines = label.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{label}: is not text in UTF-8 ({error})") from error
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        where = f"{label}: line {number}"
        try:
            index, numbers = int(words[0]), [float(word) for word in words[1:]]
        except ValueError:
            problems.add(where, f"'{line[:60]}' is no class number with an outline")
            continue
        name = f"class{index}" if names is None else names.get(index)
        if name is None:
            problems.add(where, f"has class {index}, which has no name in the data set's list of names")
        elif len(words) == BOX_NUMBERS:
            yield Shape(name, where, refused(NO_BOX))
        elif len(numbers) % 2:
            problems.add(where, f"outline of {len(numbers)} numbers, wanted pairs of x and y")
        else:
            yield Shape(name, where, scaled_polygon(list(zip(numbers[::2], numbers[1::2], strict=True)), 1.0))


def _settings(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    path = next((folder / name for name in YAML_NAMES if (folder / name).is_file()), None)
    if path is None:
        return None
    content = read_yaml(path)
    return (path, content) if isinstance(content, dict) else None


def _class_names(folder: Path) -> dict[int, str] | None:
    """By number; None where the data set doesn't name its classes."""
    settings = _settings(folder)
    if settings is not None and "names" in settings[1]:
        path, content = settings
        named = content["names"]
        pairs = named.items() if isinstance(named, dict) else enumerate(named if isinstance(named, list) else [])
        try:
            return {int(number): str(name) for number, name in pairs}
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{path}: 'names' holds {error}, wanted numbers and names") from error
    listed = next((folder / name for name in CLASS_FILES if (folder / name).is_file()), None)
    if listed is None:
        return None
    return dict(enumerate(listed.read_text(encoding="utf-8-sig", errors="replace").split("\n")))


def _listed(folder: Path) -> dict[str, str]:
    """The split of each image that stands in a text list of the settings, by its path in the folder."""
    settings = _settings(folder)
    found: dict[str, str] = {}
    for split in ("train", "val", "test") if settings is not None else ():
        path, content = settings or (folder, {})
        name = content.get(split)
        listed = inside(folder / name, folder) if isinstance(name, str) and name.endswith(".txt") else None
        if listed is None:
            continue
        if not listed.is_file():
            raise ConfigError(f"{path}: '{split}' names {name}, which is not there")
        for line in listed.read_text(encoding="utf-8-sig", errors="replace").splitlines():
            image = inside(folder / line.strip(), folder)
            if line.strip() and image is not None:
                found[image.relative_to(folder).as_posix()] = split
    return found
