"""Inspect images with a trained engine, and react to what a production line finds.

    import cv2
    from f2pnet import Inspector, draw_overlay

    with Inspector.open("configs/engines/surface-nano") as inspector:
        image = cv2.imread("part.png")
        result = inspector.inspect(image)               # verdict OK or NG, with the defects
        cv2.imwrite("shown.jpg", draw_overlay(image, result))

    from f2pnet import subscribe

    for alert in subscribe("redis://127.0.0.1:6379", line="demo", group="reject-gate"):
        print(alert.verdict, alert.frame_id)
        alert.ack()                                     # else it is delivered again

`InspectionResult` has `to_dict`, `to_json`, `to_row` (for pandas) and `to_supervision`. Every error is an `F2pError`.
The names below are the public API; what the modules hold beside them may change.
"""

# A name is imported when it is first used, so that `import f2pnet` is quick and needs no optional package.

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from f2pnet.alerts.subscription import Alert, Subscription, subscribe
    from f2pnet.alerts.subscription_async import AsyncSubscription, subscribe_async
    from f2pnet.errors import (
        BackendError,
        BundleError,
        ClosedError,
        ConfigError,
        F2pError,
        MissingExtra,
        MissingResource,
        StoreAway,
        StoreRefused,
    )
    from f2pnet.inspection.inspector import Inspector
    from f2pnet.inspection.overlay import draw_overlay
    from f2pnet.inspection.recipe import Recipe, load_recipe
    from f2pnet.inspection.result import Defect, InspectionResult, Timings, Verdict

    __version__: str

__all__ = [
    "Alert",
    "AsyncSubscription",
    "BackendError",
    "BundleError",
    "ClosedError",
    "ConfigError",
    "Defect",
    "F2pError",
    "InspectionResult",
    "Inspector",
    "MissingExtra",
    "MissingResource",
    "Recipe",
    "StoreAway",
    "StoreRefused",
    "Subscription",
    "Timings",
    "Verdict",
    "__version__",
    "draw_overlay",
    "load_recipe",
    "subscribe",
    "subscribe_async",
]

_MODULES = {
    "f2pnet.alerts.subscription": ("Alert", "Subscription", "subscribe"),
    "f2pnet.alerts.subscription_async": ("AsyncSubscription", "subscribe_async"),
    "f2pnet.errors": (
        "BackendError",
        "BundleError",
        "ClosedError",
        "ConfigError",
        "F2pError",
        "MissingExtra",
        "MissingResource",
        "StoreAway",
        "StoreRefused",
    ),
    "f2pnet.inspection.inspector": ("Inspector",),
    "f2pnet.inspection.overlay": ("draw_overlay",),
    "f2pnet.inspection.recipe": ("Recipe", "load_recipe"),
    "f2pnet.inspection.result": ("Defect", "InspectionResult", "Timings", "Verdict"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'f2pnet' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)


def _version() -> str:
    """That of the installed distribution; "0" in a checkout that is not installed."""
    try:
        return version("f2pnet")
    except PackageNotFoundError:
        return "0"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
