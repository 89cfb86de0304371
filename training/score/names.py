"""Names of trivial baselines and oracle protocols, for the help of `f2p test`, which need not wait for torch."""

from __future__ import annotations

from typing import Literal, get_args

TrivialName = Literal["nothing", "twin", "otsu", "fill-box", "otsu-box"]
OraclePrompt = Literal["oracle-box", "oracle-point"]
TRIVIAL_NAMES: tuple[TrivialName, ...] = get_args(TrivialName)
ORACLES: tuple[OraclePrompt, ...] = get_args(OraclePrompt)
