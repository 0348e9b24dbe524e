"""Models as files: LightGBM text and JSON, never pickle. A model knows the hash of the features it was trained on.

``plug_model.txt`` and ``energy_model.txt`` hold the short-lead trees, ``horizon_*.txt`` the long-lead ones,
``model.json`` everything else that inference needs, ``metrics.json`` how good they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from plugcast.errors import ModelError, ModelNotFoundError, SpecMismatchError
from plugcast.features.spec import FeatureSpec
from plugcast.forecast.boosting import from_text, to_text
from plugcast.forecast.calibrate import Isotonic, Widening
from plugcast.forecast.horizon import LEVELS, HorizonModel
from plugcast.forecast.panel import LEAD_COLUMNS
from plugcast.forecast.short import ShortModels

if TYPE_CHECKING:
    from plugcast.ports import ArtifactStore

FORMAT: Final = 1
PLUG, ENERGY = "plug_model.txt", "energy_model.txt"
HORIZON_PLUG: Final = "horizon_plug_model.txt"
HORIZON_ENERGY: Final = tuple(f"horizon_energy_q{round(level * 100):02d}_model.txt" for level in LEVELS)
DESCRIPTION, METRICS = "model.json", "metrics.json"


class HorizonCalibration(msgspec.Struct, frozen=True, kw_only=True):
    """What turns the long-lead trees' raw output into stated chances."""

    plug: Isotonic
    energy: Widening | None


class Description(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``model.json``."""

    format: int
    spec: FeatureSpec
    spec_hash: str
    columns: tuple[str, ...]
    lead_min: float
    horizon: HorizonCalibration | None
    trained_at: str
    source: str
    samples: int


def save(
    store: ArtifactStore,
    description: Description,
    short: ShortModels,
    horizon: HorizonModel | None,
    metrics: dict[str, Any],
) -> None:
    """Write everything; the description last, so that a half-written model is not taken for one."""
    store.put(PLUG, to_text(short.plug))
    store.put(ENERGY, to_text(short.energy))
    if horizon is not None:
        store.put(HORIZON_PLUG, to_text(horizon.plug))
        for name, booster in zip(HORIZON_ENERGY, horizon.energy, strict=False):
            store.put(name, to_text(booster))
    store.put(METRICS, msgspec.json.format(msgspec.json.encode(metrics), indent=2) + b"\n")
    store.put(DESCRIPTION, msgspec.json.format(msgspec.json.encode(description), indent=2) + b"\n")


def describe(store: ArtifactStore) -> Description:
    """Read and check ``model.json``.

    Raises:
        ModelNotFoundError: There is none.
        SpecMismatchError: The model wants features that this version computes differently.
        ModelError: It is malformed.
    """
    try:
        description = msgspec.json.decode(store.get(DESCRIPTION), type=Description)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(f"{error} Train models first: plugcast train") from error
    except msgspec.DecodeError as error:
        raise ModelError(f"{DESCRIPTION} cannot be read: {error}. Train again with: plugcast train") from error
    ours = FeatureSpec(time_zone=description.spec.time_zone, gap_limit_min=description.spec.gap_limit_min)
    if description.format != FORMAT or description.spec.hash != description.spec_hash or ours != description.spec:
        raise SpecMismatchError(
            f"The model was trained on feature spec {description.spec_hash} (format {description.format}); "
            f"this version computes {ours.hash} (format {FORMAT}). Train again with: plugcast train"
        )
    if description.columns != (*ours.columns, *LEAD_COLUMNS):
        raise SpecMismatchError(f"The model wants the inputs {', '.join(description.columns)}. Train again.")
    return description


def load_short(store: ArtifactStore, description: Description) -> ShortModels:
    """The two short-lead models."""
    return ShortModels(
        lead_min=description.lead_min,
        plug=from_text(store.get(PLUG), description.columns),
        energy=from_text(store.get(ENERGY), description.columns),
    )


def load_horizon(store: ArtifactStore, description: Description) -> HorizonModel:
    """The long-lead model.

    Raises:
        ModelError: Training left it out.
    """
    if description.horizon is None:
        raise ModelError("These models have no 48 h forecast: they were trained with --no-horizon. Train again.")
    energy = HORIZON_ENERGY if description.horizon.energy is not None else ()
    return HorizonModel(
        plug=from_text(store.get(HORIZON_PLUG), description.columns),
        plug_calibration=description.horizon.plug,
        energy=tuple(from_text(store.get(name), description.columns) for name in energy),
        energy_widening=description.horizon.energy,
    )
