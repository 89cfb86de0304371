from __future__ import annotations

from typing import Any

import pytest

from f2pnet.engine.blind import blind_on, explained


def sheet(recall: float | None, defective: int | None, **more: Any) -> dict[str, Any]:
    values = {"iou": 0.1} | ({} if recall is None else {"frame_recall": recall})
    return {"dataset": "MT", "split": "test.json", "protocol": "auto", "defective": defective, "values": values} | more


@pytest.mark.parametrize(
    ("recall", "defective", "is_blind"),
    [
        (0.0, 19, True),
        (1 / 19, 19, True),
        (2 / 19, 19, False),
        (0.1, 20, True),
        (0.5, 20, False),
        (0.0, 4, True),
        (0.0, 3, False),  # too few to tell
        (0.0, None, False),
        (None, 19, False),
    ],
)
def test_an_engine_that_rejects_at_most_a_tenth_is_blind(
    recall: float | None, defective: int | None, *, is_blind: bool
) -> None:
    assert bool(blind_on([sheet(recall, defective)])) == is_blind


def test_prompts_from_the_truth_say_nothing_about_verdicts() -> None:
    assert blind_on([sheet(0.0, 19, protocol="oracle-box")]) == []


def test_the_words_name_count_list_causes_and_cures() -> None:
    text = explained(blind_on([sheet(0.0, 19)]), from_scratch=True)
    assert text.startswith("BLIND: none of 19 defective images of MT (test.json) would be rejected")
    assert all(cure in text for cure in ("`steps`", "`image_size`", "pretrained", "f2p data check"))
    assert "only 1 of 19" in explained(blind_on([sheet(1 / 19, 19)]))


def test_scores_that_tell_apart_point_at_the_thresholds() -> None:
    told = sheet(0.0, 19)
    told["values"]["image_auroc"] = 0.93
    text = explained(blind_on([told]))
    assert "AUROC 0.93" in text
    assert "thresholds are at fault" in text
