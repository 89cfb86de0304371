from __future__ import annotations

from f2pnet.redis.keys import LineKeys


def test_keys_are_those_of_the_contract() -> None:
    keys = LineKeys("demo")

    assert keys.results == "f2p:{demo}:results"
    assert keys.alerts == "f2p:{demo}:alerts"
    assert keys.workers == "f2p:{demo}:workers"
    assert keys.ledger("cam1") == "f2p:{demo}:ledger:cam1"


def test_frames_share_a_bit_field_in_chunks_of_65536() -> None:
    keys = LineKeys("demo")

    assert keys.seen("cam1", "r", 0) == keys.seen("cam1", "r", 65_535) == "f2p:{demo}:seen:cam1:r:0"
    assert keys.seen("cam1", "r", 65_536) == "f2p:{demo}:seen:cam1:r:1"
