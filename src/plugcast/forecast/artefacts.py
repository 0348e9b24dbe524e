"""Models as files: LightGBM text and JSON, never pickle. A model knows the hash of the features it was trained on.

``plug_model.txt`` and ``energy_model.txt`` hold the short-lead trees, ``horizon_*.txt`` the long-lead ones (of the plug
state two for each anchor lead), ``model.json`` everything else that inference needs, the linear parts included,
``metrics.json`` how good they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from plugcast.errors import ModelError, ModelNotFoundError, SpecMismatchError
from plugcast.features.analogs import COLUMNS
from plugcast.features.spec import FeatureSpec
from plugcast.forecast import integrity
from plugcast.forecast.availability import Anchor, Availability, Blend
from plugcast.forecast.boosting import from_text, to_text
from plugcast.forecast.calibrate import Widening
from plugcast.forecast.horizon import LEVELS, HorizonModel
from plugcast.forecast.lead_columns import LEAD_COLUMNS
from plugcast.forecast.short import ShortModels
from plugcast.trees.packed.predictor import Packed

if TYPE_CHECKING:
    from plugcast.forecast.boosting import Trees
    from plugcast.ports import ArtifactStore

FORMAT: Final = 3
PLUG, ENERGY = "plug_model.txt", "energy_model.txt"
HORIZON_ENERGY: Final = tuple(f"horizon_energy_q{round(level * 100):02d}_model.txt" for level in LEVELS)
UNLIKE: Final = "unlike.plugtree"
"""An isolation forest over the short pair's inputs: how unlike anything in training an input is."""
DESCRIPTION, METRICS = "model.json", "metrics.json"


def horizon_plug(lead_min: float, part: str) -> str:
    """File of an anchor's trees; ``part`` is ``correction`` or ``alone``."""
    return f"horizon_plug_{round(lead_min):04d}min_{part}.txt"


class HorizonParts(msgspec.Struct, frozen=True, kw_only=True):
    """What joins the long-lead trees: linear parts and calibration."""

    columns: tuple[str, ...]
    """Inputs of the plug state's models."""
    plug: tuple[Blend, ...]
    energy: Widening | None


class Description(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``model.json``."""

    format: int
    spec: FeatureSpec
    spec_hash: str
    columns: tuple[str, ...]
    lead_min: float
    horizon: HorizonParts | None
    trained_at: str
    source: str
    samples: int
    digests: dict[str, str] = {}
    """SHA-256 of each file of trees."""
    seal: str = ""
    """SHA-256 of all of this."""


def save(
    store: ArtifactStore,
    description: Description,
    short: ShortModels,
    horizon: HorizonModel | None,
    metrics: dict[str, Any],
    *,
    unlike: Packed | None = None,
) -> None:
    """Write everything; the description last, so that a half-written model is not taken for one."""
    files = {PLUG: to_text(short.plug), ENERGY: to_text(short.energy)}
    if unlike is not None:
        files[UNLIKE] = unlike.to_bytes()
    if horizon is not None:
        for anchor in horizon.plug.anchors:
            files[horizon_plug(anchor.blend.lead_min, "correction")] = to_text(anchor.correction)
            files[horizon_plug(anchor.blend.lead_min, "alone")] = to_text(anchor.alone)
        files |= {name: to_text(trees) for name, trees in zip(HORIZON_ENERGY, horizon.energy, strict=False)}
    for name, content in files.items():
        store.put(name, content)
    store.put(METRICS, msgspec.json.format(msgspec.json.encode(metrics), indent=2) + b"\n")
    digests = {name: integrity.digest(content) for name, content in files.items()}
    description = integrity.sealed(msgspec.structs.replace(description, digests=digests))
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
    if description.format != FORMAT:
        raise SpecMismatchError(
            f"The model is of format {description.format}; this version reads {FORMAT}. Train again: plugcast train"
        )
    if description.spec.hash != description.spec_hash or ours != description.spec:
        raise SpecMismatchError(
            f"The model was trained on feature spec {description.spec_hash}; this version computes {ours.hash}. "
            "Train again with: plugcast train"
        )
    if description.columns != (*ours.columns, *LEAD_COLUMNS):
        raise SpecMismatchError(f"The model wants the inputs {', '.join(description.columns)}. Train again.")
    integrity.check_seal(description, DESCRIPTION)
    return description


def _trees(store: ArtifactStore, name: str, description: Description, columns: tuple[str, ...] | None = None) -> Trees:
    return from_text(integrity.read(store, name, description.digests), columns or description.columns)


def load_short(store: ArtifactStore, description: Description) -> ShortModels:
    """The two short-lead models."""
    return ShortModels(
        lead_min=description.lead_min,
        plug=_trees(store, PLUG, description),
        energy=_trees(store, ENERGY, description),
    )


def load_unlike(store: ArtifactStore, description: Description) -> Packed | None:
    """The isolation forest over the inputs; None where training left it out.

    Raises:
        SpecMismatchError: It wants other inputs.
    """
    if UNLIKE not in description.digests:
        return None
    found = Packed.from_bytes(integrity.read(store, UNLIKE, description.digests))
    if not set(found.forest.names) <= set(description.columns):
        raise SpecMismatchError(f"{UNLIKE} wants other inputs than the models. Train again with: plugcast train")
    return found


def load_horizon(store: ArtifactStore, description: Description) -> HorizonModel:
    """The long-lead model.

    Raises:
        ModelError: Training left it out.
        SpecMismatchError: It wants other inputs.
    """
    if description.horizon is None:
        raise ModelError("These models have no 48 h forecast: they were trained with --no-horizon. Train again.")
    parts = description.horizon
    if parts.columns[: len(COLUMNS)] != COLUMNS:
        raise SpecMismatchError("The 48 h model wants other inputs than this version gives. Train again.")
    energy = HORIZON_ENERGY if parts.energy is not None else ()
    return HorizonModel(
        plug=Availability(
            anchors=tuple(
                Anchor(
                    blend=blend,
                    correction=_trees(store, horizon_plug(blend.lead_min, "correction"), description, parts.columns),
                    alone=_trees(store, horizon_plug(blend.lead_min, "alone"), description, parts.columns),
                )
                for blend in parts.plug
            )
        ),
        energy=tuple(_trees(store, name, description) for name in energy),
        energy_widening=parts.energy,
    )


def parts_of(model: HorizonModel, columns: tuple[str, ...]) -> HorizonParts:
    """What ``model.json`` keeps of a long-lead model."""
    return HorizonParts(
        columns=columns, plug=tuple(anchor.blend for anchor in model.plug.anchors), energy=model.energy_widening
    )
