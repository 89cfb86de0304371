"""Products in bfloat16 where the processor has them: about twice the speed, with weights and sums in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from training.recipe import TrainingPrecision


def multiplies_in_bf16(precision: TrainingPrecision, device: torch.device) -> bool:
    """Whether a run of this precision takes bfloat16 products on this device; `auto` does where they are faster.

    On a CPU without instructions for it, bfloat16 is slower than float32.
    """
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


@contextmanager
def products_of(precision: TrainingPrecision, device: torch.device) -> Iterator[None]:
    """The forward pass inside takes this precision. Depthwise convolutions stay in float32 on a CPU: oneDNN's gradients
    of theirs in bfloat16 take 4 to 40 times as long (docs/benchmarks/experiments.md)."""
    bf16 = multiplies_in_bf16(precision, device)
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        if bf16 and device.type == "cpu":
            with _DepthwiseInFloat32():
                yield
        else:
            yield


class _DepthwiseInFloat32(TorchFunctionMode):
    def __torch_function__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), keywords: dict[str, Any] | None = None
    ) -> Any:
        keywords = keywords or {}
        if function is torch.conv2d and keywords.get("groups", arguments[6] if len(arguments) > 6 else 1) > 1:
            with torch.autocast("cpu", enabled=False):
                return function(arguments[0].float(), *arguments[1:], **keywords)
        return function(*arguments, **keywords)
