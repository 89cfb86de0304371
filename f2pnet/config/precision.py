"""In what numbers an engine computes."""

from typing import Literal

Precision = Literal["fp32", "fp16", "bf16", "int8"]
