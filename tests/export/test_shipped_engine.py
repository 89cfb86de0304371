"""The engine that ships with the project, on simulated belts whose seeds its training never saw (it saw 0 to 31)."""

from __future__ import annotations

from pathlib import Path

from f2pnet.config.sources import TEXTURES, SyntheticSource
from f2pnet.engine.bundle import open_bundle
from f2pnet.inspection.inspector import Inspector
from f2pnet.inspection.result import Verdict
from pipeline.sources.conveyor import Conveyor

ENGINE = Path(__file__).resolve().parents[2] / "configs/engines/surface-nano"
FRAMES_PER_BELT = 25


def test_it_is_small_proven_and_tells_the_licences_of_its_data() -> None:
    bundle = open_bundle(ENGINE)
    (artifact,) = bundle.manifest.artifacts
    assert sum(path.stat().st_size for path in ENGINE.iterdir()) < 20e6
    assert artifact.parity is not None
    assert artifact.parity.verdict_agreement == 1.0
    assert "no licence" in (bundle.manifest.training.notes or "")
    assert {sheet.protocol for sheet in bundle.manifest.training.metrics} == {"auto"}


def test_nine_of_ten_frames_of_unseen_belts_are_judged_rightly() -> None:
    found = missed = false = 0
    with Inspector.open(ENGINE, threads=1) as inspector:
        for texture in TEXTURES:
            belt = Conveyor(SyntheticSource(texture=texture, seed=8100, size="512x512", defect_rate=0.5))
            for frame in map(belt.frame, range(FRAMES_PER_BELT)):
                rejected = inspector.inspect(frame.image).verdict is Verdict.NG
                found += bool(frame.defects) and rejected
                missed += bool(frame.defects) and not rejected
                false += not frame.defects and rejected
    assert found / (found + missed) >= 0.9, (found, missed, false)
    assert found / (found + false) >= 0.9, (found, missed, false)
