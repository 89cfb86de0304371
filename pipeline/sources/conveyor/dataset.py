"""Write frames of simulated belts to disk as a labelled data set (the project's data set folder layout).

    OUT/images/ID.png, masks/ID.png (0 or 255), masks_class/ID.png (0 or the place of the defect in DEFECTS, plus one)
    OUT/train.json, test.json, few_shot.json, README.md

Train and test never share a belt: the surface, its light and its defects in `test.json` were not seen in training.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from f2pnet.config.sources import DEFECTS, SyntheticSource, TextureName
from f2pnet.errors import ConfigError
from f2pnet.pictures.writing import PictureNotWritten
from pipeline.sources.conveyor.belt import Conveyor, ConveyorFrame

FEW_SHOT_SIZES = (1, 4, 16, 32, 64)
PNG_FAST = (cv2.IMWRITE_PNG_COMPRESSION, 1)
Record = dict[str, object]


@dataclass(frozen=True)
class DatasetFacts:
    """What was written: number of frames and how many of them are defective, in each split."""

    train: int
    train_defective: int
    test: int
    test_defective: int


def belts(
    base: SyntheticSource, textures: Iterable[TextureName], first_seed: int, belts_per_texture: int
) -> list[SyntheticSource]:
    """`base` with each of the textures, each with as many seeds, counted up from `first_seed`."""
    seeds = range(first_seed, first_seed + belts_per_texture)
    return [base.model_copy(update={"texture": texture, "seed": seed}) for texture in textures for seed in seeds]


def write_dataset(
    configs: Sequence[SyntheticSource],
    out_dir: Path,
    count: int,
    *,
    test_share: float = 0.2,
    progress: Callable[[int], None] = lambda written: None,
) -> DatasetFacts:
    """Write `count` frames, spread evenly over the belts in `configs`, and the index files.

    Of each texture `test_share` of the belts, at least one, make the test split; so each texture needs two belts or
    more. Raises ConfigError when it has not, when there are fewer frames than belts, or when `out_dir` holds files.
    """
    test_belts = _belts_for_test(configs, test_share)
    if count < len(configs):
        raise ConfigError(f"{count} frames are too few for {len(configs)} belts: ask for at least one frame of each")
    if out_dir.exists() and any(out_dir.iterdir()):
        raise ConfigError(f"{out_dir} is not empty: name a new folder")
    for folder in ("images", "masks", "masks_class"):
        (out_dir / folder).mkdir(parents=True, exist_ok=True)
    train: list[Record] = []
    test: list[Record] = []
    for number, config in enumerate(configs):
        belt = Conveyor(config)
        for index in range(len(range(number, count, len(configs)))):
            record = _write_frame(out_dir, config, index, belt.frame(index))
            (test if number in test_belts else train).append(record)
            progress(len(train) + len(test))
    _write_json(out_dir / "train.json", train)
    _write_json(out_dir / "test.json", test)
    _write_json(out_dir / "few_shot.json", few_shot_lists(train, seed=configs[0].seed))
    facts = DatasetFacts(len(train), _defective(train), len(test), _defective(test))
    (out_dir / "README.md").write_text(_readme(configs, facts, [*train, *test]), encoding="utf-8")
    return facts


def few_shot_lists(records: Sequence[Record], seed: int) -> dict[str, list[str]]:
    """Nested lists of record ids, the kinds of defect (and good) taking turns; sizes beyond the split are left out."""
    order = np.random.default_rng(seed).permutation(len(records))
    queues: dict[str, list[str]] = defaultdict(list)
    for place in order:
        queues[str(records[place]["class_name"])].append(str(records[place]["id"]))
    turns = [queues[name] for name in (*DEFECTS, "good") if queues[name]]
    longest = max(map(len, turns), default=0)
    ids = [queue[turn] for turn in range(longest) for queue in turns if turn < len(queue)]
    return {str(size): ids[:size] for size in FEW_SHOT_SIZES if size <= len(ids)}


def _belts_for_test(configs: Sequence[SyntheticSource], test_share: float) -> set[int]:
    """Places in `configs` of the belts kept for testing: the last ones of each texture."""
    places: dict[TextureName, list[int]] = defaultdict(list)
    for place, config in enumerate(configs):
        places[config.texture].append(place)
    chosen: set[int] = set()
    for texture, of_texture in places.items():
        if len(of_texture) < 2:
            raise ConfigError(f"texture {texture} has one belt; train and test need a belt each: ask for two or more")
        wanted = min(max(1, round(test_share * len(of_texture))), len(of_texture) - 1)
        chosen.update(of_texture[-wanted:])
    if not chosen:
        raise ConfigError("no belt given: name at least one texture")
    return chosen


def _write_frame(out_dir: Path, config: SyntheticSource, index: int, frame: ConveyorFrame) -> Record:
    belt = f"{config.texture}-{config.seed}"
    name = f"{belt}-{index:06d}"
    _write_png(out_dir / f"images/{name}.png", frame.image)
    record: Record = {
        "id": name,
        "image": f"images/{name}.png",
        "mask": None,
        "label": int(bool(frame.defects)),
        "class_name": "good",
        "part_id": belt,
        "texture": config.texture,
    }
    if frame.defects:
        _write_png(out_dir / f"masks/{name}.png", frame.mask)
        _write_png(out_dir / f"masks_class/{name}.png", frame.class_mask)
        record["mask"] = f"masks/{name}.png"
        record["mask_class"] = f"masks_class/{name}.png"
        record["class_name"] = max(frame.defects, key=lambda defect: defect.area_px).class_name
        record["defects"] = [
            {"class_name": defect.class_name, "bbox_px": defect.bbox_px, "area_px": defect.area_px}
            for defect in frame.defects
        ]
    return record


def _write_png(path: Path, image: npt.NDArray[np.uint8]) -> None:
    if not cv2.imwrite(str(path), image, PNG_FAST):
        raise PictureNotWritten(f"picture {path} can't be written: check the disk's space and rights")


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _defective(records: Iterable[Record]) -> int:
    return sum(1 for record in records if record["label"])


def _readme(configs: Sequence[SyntheticSource], facts: DatasetFacts, records: Sequence[Record]) -> str:
    classes = Counter(str(record["class_name"]) for record in records)
    seeds = sorted({config.seed for config in configs})
    textures = dict.fromkeys(config.texture for config in configs)
    return f"""# Synthetic conveyor

Pictures drawn by `f2p conveyor`; no camera took them. Free to use under the licence of f2pnet.

- {facts.train} train frames ({facts.train_defective} defective),
  {facts.test} test frames ({facts.test_defective} defective), {configs[0].size} px, grey.
- Train and test share no belt (`part_id`).
- Textures: {", ".join(textures)}. Seeds {seeds[0]} to {seeds[-1]}.
- Frames by their largest defect: {", ".join(f"{name} {classes[name]}" for name in (*DEFECTS, "good"))}.
- `masks_class/` holds 0 good, then {", ".join(f"{place} {name}" for place, name in enumerate(DEFECTS, 1))}.
- Masks are exact: a pixel is marked where the drawn defect covers at least half of it.
"""
