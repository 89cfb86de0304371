"""What it takes to run an exported engine on one image, and the public Python API.

Each name is imported when it is first used, so that `import f2pnet` is quick and needs no optional package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from f2pnet.alerts import subscribe
    from f2pnet.alerts_async import subscribe_async
    from f2pnet.errors import F2pError
    from f2pnet.inspector import Inspector
    from f2pnet.recipe import Recipe, load_recipe
    from f2pnet.result import Defect, InspectionResult, Verdict

__all__ = [
    "Defect",
    "F2pError",
    "InspectionResult",
    "Inspector",
    "Recipe",
    "Verdict",
    "load_recipe",
    "subscribe",
    "subscribe_async",
]

_HOMES = {
    "Defect": "f2pnet.result",
    "F2pError": "f2pnet.errors",
    "InspectionResult": "f2pnet.result",
    "Inspector": "f2pnet.inspector",
    "Recipe": "f2pnet.recipe",
    "Verdict": "f2pnet.result",
    "load_recipe": "f2pnet.recipe",
    "subscribe": "f2pnet.alerts",
    "subscribe_async": "f2pnet.alerts_async",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'f2pnet' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
