from __future__ import annotations

from collections import Counter
from pathlib import Path

from training.data.few_shot import few_shot_lists
from training.data.records import Record


def records() -> list[Record]:
    """90 cracks of 30 parts, 12 dents of 12 parts, 60 good ones."""
    cracks = [Record(f"c{n}", Path("i"), Path("m"), 1, "crack", f"part-{n // 3}", "d") for n in range(90)]
    dents = [Record(f"d{n}", Path("i"), Path("m"), 1, "dent", f"dent-{n}", "d") for n in range(12)]
    return cracks + dents + [Record(f"g{n}", Path("i"), None, 0, "good", f"good-{n}", "d") for n in range(60)]


def test_each_list_has_its_size_and_holds_the_shorter_ones() -> None:
    lists = few_shot_lists(records(), seed=1)
    assert {shots: len(ids) for shots, ids in lists.items()} == {"1": 1, "4": 4, "16": 16, "32": 32, "64": 64}
    for shorter, longer in (("1", "4"), ("4", "16"), ("16", "32"), ("32", "64")):
        assert lists[longer][: int(shorter)] == lists[shorter]
    assert len(set(lists["64"])) == 64


def test_classes_take_turns_and_a_twelfth_is_good() -> None:
    kinds = {r.id: r.class_name for r in records()}
    counts = Counter(kinds[name] for name in few_shot_lists(records(), seed=1)["16"])
    assert counts["good"] == 1
    assert abs(counts["crack"] - counts["dent"]) <= 1
    assert Counter(kinds[name] for name in few_shot_lists(records(), seed=1)["64"])["good"] == 5


def test_no_part_is_drawn_twice_before_every_other_was_drawn_once() -> None:
    parts = {r.id: r.part_id for r in records()}
    drawn = [name for name in few_shot_lists(records(), seed=1)["32"] if name.startswith("c")]
    assert len({parts[name] for name in drawn}) == len(drawn)


def test_the_first_image_is_defective_and_another_seed_draws_another_list() -> None:
    assert not few_shot_lists(records(), seed=1)["1"][0].startswith("g")
    assert few_shot_lists(records(), seed=1) == few_shot_lists(records(), seed=1)
    assert few_shot_lists(records(), seed=1)["16"] != few_shot_lists(records(), seed=2)["16"]


def test_sizes_that_the_images_do_not_suffice_for_are_left_out() -> None:
    assert list(few_shot_lists(records()[:5], seed=1)) == ["1", "4"]
