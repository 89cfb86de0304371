"""Where a data set lies: a folder by its path or its name, indexed first where it has another layout than ours."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from f2pnet.commands.output_places import OutputRefused
from f2pnet.commands.terminal import say
from f2pnet.errors import ConfigError, F2pError, MissingResource
from training.data.check import STATE_FILE
from training.data.records import ImageFile, read_records
from training.layouts.entry import INDEX_FOLDER
from training.layouts.index import LAYOUTS, index, recognised
from training.layouts.label_tools.label_studio import is_export

PUBLISHED = ("NEU_Seg", "MT", "KolektorSDD2", "DAGM2007")


def find_datasets(names: Sequence[str], data_dir: Path) -> list[Path]:
    """`find_dataset` for each name; reports all that fail at once."""
    found, problems = [], []
    for name in names:
        try:
            found.append(find_dataset(name, data_dir))
        except F2pError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ConfigError("\n".join(str(problem) for problem in problems))
    return found


def find_dataset(name_or_dir: str, data_dir: Path) -> Path:
    """The folder with the index files of a data set given by its path, or by its name under `data_dir`.

    A folder in one of the other layouts (training/layouts) is indexed into its `f2p-index/`, and again
    when its files have changed.
    Raises MissingResource where there is no such folder, ConfigError where it has no layout that we know.
    """
    folder = next((path for path in (Path(name_or_dir), data_dir / name_or_dir) if path.is_dir()), None)
    if folder is None:
        raise MissingResource(
            f"no data set '{name_or_dir}': neither a folder of that path nor {data_dir / name_or_dir}"
            f"{_nearest(name_or_dir, data_dir)}; check the name, or name the folder of data sets with --data-dir"
        )
    if _has_our_index(folder) or (layout := recognised(folder)) is None:
        return folder  # without any layout the reader of its list says what is missing
    return _indexed(folder, layout)


def list_images(name_or_dir: str, data_dir: Path, list_name: str) -> list[ImageFile]:
    """The image files of one list of a data set."""
    return [record.file for record in read_records(find_dataset(name_or_dir, data_dir), list_name)]


def _indexed(folder: Path, layout: str) -> Path:
    out = folder / INDEX_FOLDER / folder.resolve().name
    state = fingerprint(folder)
    noted = out / STATE_FILE
    known = noted.read_text(encoding="utf-8") if noted.is_file() else None
    if _has_our_index(out) and known == state:
        return out
    try:
        done = index(folder, out)
        noted.write_text(state, encoding="utf-8")
    except (OSError, OutputRefused) as error:
        raise _not_here(folder, layout, str(error)) from error
    sizes = ", ".join(f"{sum(counts.values())} to {name}" for name, counts in done.counts.items())
    again = "indexed again, since its files have changed," if known else "indexed"
    say(f"{folder}: {again} as {done.layout}, {sizes}, into {out}", err=True)
    for remark in done.remarks:
        say(f"  {remark}", err=True)
    return out


def _not_here(folder: Path, layout: str, reason: str) -> ConfigError:
    return ConfigError(
        f"{folder} has the layout {LAYOUTS[layout].title} and its index can't be written into it ({reason}): "
        f"write it elsewhere with `f2p data index {folder} --out DIR` and name DIR"
    )


def fingerprint(folder: Path) -> str:
    """Changes when a file of the folder does: names, sizes and times, without what we wrote."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and INDEX_FOLDER not in path.relative_to(folder).parts:
            facts = path.stat()
            found.update(os.fsencode(f"{path.relative_to(folder)}|{facts.st_size}|{facts.st_mtime_ns}\n"))
    return found.hexdigest()


def _has_our_index(folder: Path) -> bool:
    """A list of records in train.json or test.json; other tools' files of these names hold an object, or tasks."""
    lists = [folder / name for name in ("train.json", "test.json")]
    return any(
        path.is_file() and path.read_bytes().lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[") and not is_export(path)
        for path in lists
    )


def _nearest(name: str, data_dir: Path) -> str:
    there = [path.name for path in data_dir.iterdir() if path.is_dir()] if data_dir.is_dir() else []
    near = difflib.get_close_matches(name, [*there, *PUBLISHED], n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""
