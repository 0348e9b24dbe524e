"""Plugcast: will the car be plugged in, how much will it need, when do we charge it, is something wrong?

Public names load on first use, so that ``import plugcast`` costs next to nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing alone would double what importing this package costs
if TYPE_CHECKING:
    from typing import Any

    from plugcast.domain.finding import Finding
    from plugcast.domain.plan import ChargingPlan
    from plugcast.domain.site import Site
    from plugcast.errors import PlugcastError
    from plugcast.features.spec import FeatureSpec

__version__ = "0.1.0"

_HOMES = {
    "ChargingPlan": "plugcast.domain.plan",
    "FeatureSpec": "plugcast.features.spec",
    "Finding": "plugcast.domain.finding",
    "PlugcastError": "plugcast.errors",
    "Site": "plugcast.domain.site",
}

__all__ = ["ChargingPlan", "FeatureSpec", "Finding", "PlugcastError", "Site", "__version__"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the module protocol says Any
    """Load a public name from its home on first use."""
    from importlib import import_module  # noqa: PLC0415 - the same: only who asks for a name pays

    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
