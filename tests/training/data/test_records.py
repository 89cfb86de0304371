from __future__ import annotations

import json
from pathlib import Path

import pytest

from f2pnet.errors import ConfigError, MissingResource
from training.data.records import Record, few_shot, read_records, split_by_part
from training.layouts.find import find_dataset


def record(number: int, part: int, class_name: str = "good") -> Record:
    return Record(f"{number}", Path("i"), None, int(class_name != "good"), class_name, f"part-{part}", "d")


def test_a_list_is_read_with_paths_inside_its_folder(spots: Path) -> None:
    records = read_records(spots, "train.json")
    assert len(records) == 16
    assert records[1].image == spots / "images/1.png"
    assert records[1].mask == spots / "masks/1.png"
    assert (records[0].mask, records[0].class_name, records[1].part_id) == (None, "good", "part-0")


def test_all_problems_of_a_list_are_told_at_once(spots: Path) -> None:
    path = spots / "train.json"
    entries = json.loads(path.read_text())
    entries[0]["image"] = "images/lost.png"
    entries[1]["mask"] = None
    entries[2]["label"] = 7
    entries[4]["id"] = entries[3]["id"]
    path.write_text(json.dumps(entries))
    with pytest.raises(ConfigError) as caught:
        read_records(spots, "train.json")
    message = str(caught.value)
    for told in ("images/lost.png", "'1' is defective and has no mask", "'label' is 7", "id '3' stands 2 times"):
        assert told in message


@pytest.mark.parametrize("text", ["{not json", "[]", "{}"])
def test_a_file_that_is_no_list_is_a_configuration_error(spots: Path, text: str) -> None:
    (spots / "train.json").write_text(text)
    with pytest.raises(ConfigError, match=r"train\.json"):
        read_records(spots, "train.json")


def test_a_missing_list_and_a_misspelt_data_set_name_what_is_missing(spots: Path) -> None:
    with pytest.raises(MissingResource, match=r"val\.json"):
        read_records(spots, "val.json")
    with pytest.raises(MissingResource, match="NEU_Sge"):
        find_dataset("NEU_Sge", spots.parent)
    assert find_dataset("spots", spots.parent) == spots


def test_no_part_stands_on_both_sides_of_a_split() -> None:
    records = [record(n, part=n // 3, class_name="crack" if n % 6 < 3 else "good") for n in range(90)]
    training, validation = split_by_part(records, share=0.2, seed=1)
    assert {r.part_id for r in training}.isdisjoint(r.part_id for r in validation)
    assert len(training) + len(validation) == 90
    assert 12 <= len(validation) <= 24
    assert sum(r.class_name == "crack" for r in validation) == pytest.approx(len(validation) / 2, abs=3)


def test_the_same_seed_gives_the_same_split_and_another_one_another() -> None:
    records = [record(n, part=n // 2) for n in range(60)]
    assert split_by_part(records, 0.2, seed=5) == split_by_part(records, 0.2, seed=5)
    assert split_by_part(records, 0.2, seed=5) != split_by_part(records, 0.2, seed=6)


def test_few_shot_takes_the_clean_list_before_the_other(spots: Path) -> None:
    records = read_records(spots, "train.json")
    (spots / "few_shot.json").write_text(json.dumps({"1": ["1"], "4": ["1", "2", "3", "4"]}))
    assert [r.id for r in few_shot(records, spots, 1)] == ["1"]
    (spots / "few_shot_clean.json").write_text(json.dumps({"1": ["5"]}))
    assert [r.id for r in few_shot(records, spots, 1)] == ["5"]
    with pytest.raises(ConfigError, match="no 4-shot list; it has: 1"):
        few_shot(records, spots, 4)


def test_a_few_shot_id_that_is_not_in_the_list_is_an_error(spots: Path) -> None:
    (spots / "few_shot.json").write_text(json.dumps({"1": ["nobody"]}))
    with pytest.raises(ConfigError, match="nobody"):
        few_shot(read_records(spots, "train.json"), spots, 1)
