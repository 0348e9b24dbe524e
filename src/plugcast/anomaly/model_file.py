"""A detector as files: a manifest, one npz of plain arrays, and the history as JSON. Nothing in them can run.

The manifest is written last and carries the digests of the others, so that a half-written set is refused, not mixed.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from plugcast.anomaly.detector import MODEL_FEATURES, Detector
from plugcast.anomaly.extended import ExtendedForest
from plugcast.anomaly.faults import FaultClassifier
from plugcast.anomaly.forests import IsolationForest
from plugcast.anomaly.kind_model import KindModel, version_of
from plugcast.anomaly.neighbours import Neighbours
from plugcast.anomaly.stack import Stack
from plugcast.anomaly.threshold import Threshold
from plugcast.errors import ModelError, SpecMismatchError
from plugcast.features.sessions import SessionHistory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from plugcast.ports import ArtifactStore

FORMAT: Final = 2
MANIFEST: Final = "detector.json"
ARRAY_FILE: Final = "detector-arrays.npz"
HISTORY_FILE: Final = "detector-history.json"


class _Kind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    names: dict[str, tuple[str, ...]]
    """Of each detector's features."""
    subsample: int
    neighbours: int
    weights: tuple[float, ...]
    rule_evidence: dict[str, float]
    unbroken: float
    station_weeks: float
    alarms_per_station_week: float


class _Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int
    version: str
    features: tuple[str, ...]
    seed: int
    trained_until_at: datetime | None
    session_counts: dict[str, int]
    kinds: dict[str, _Kind]
    digests: dict[str, str]


def save_detector(detector: Detector, store: ArtifactStore) -> None:
    """Write the detector; the same detector gives the same bytes."""
    arrays: dict[str, NDArray[Any]] = {}
    kinds = {}
    for kind, model in sorted(detector.models.items()):
        stack = model.stack
        for part, scorer in stack.scorers.items():
            arrays |= {f"{kind}.{part}.{name}": array for name, array in scorer.to_arrays().items()}
            arrays[f"{kind}.{part}-held-out"] = stack.held_out[part]
        arrays[f"{kind}.held-out"] = model.threshold.held_out
        kinds[kind] = _Kind(
            names={part: scorer.names for part, scorer in stack.scorers.items()},
            subsample=stack.forest.subsample,
            neighbours=stack.neighbours.k,
            weights=stack.weights,
            rule_evidence=dict(stack.rule_evidence),
            unbroken=stack.unbroken,
            station_weeks=model.threshold.station_weeks,
            alarms_per_station_week=model.threshold.alarms_per_station_week,
        )
    parts = {ARRAY_FILE: _npz(arrays), HISTORY_FILE: detector.history.to_json()}
    for name, content in parts.items():
        store.put(name, content)
    manifest = _Manifest(
        format=FORMAT,
        version=detector.version,
        features=MODEL_FEATURES,
        seed=detector.seed,
        trained_until_at=detector.trained_until_at,
        session_counts=dict(detector.session_counts),
        kinds=kinds,
        digests={name: hashlib.sha256(content).hexdigest() for name, content in parts.items()},
    )
    store.put(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2))


def load_detector(store: ArtifactStore) -> Detector:
    """Read a detector back; it finds the same, bit for bit.

    Raises:
        ModelNotFoundError: There is none.
        SpecMismatchError: It was trained on other features or by another format of file.
        ModelError: It is damaged: malformed, or its parts are not of one writing.
    """
    manifest = _manifest(store.get(MANIFEST))
    parts = {}
    for name in (ARRAY_FILE, HISTORY_FILE):
        parts[name] = store.get(name)
        if hashlib.sha256(parts[name]).hexdigest() != manifest.digests.get(name):
            raise ModelError(f"{name} is not the one that {MANIFEST} was written with. Train the detector again.")
    try:
        arrays = _arrays(parts[ARRAY_FILE])
        models = {kind: _model(entry, kind, arrays) for kind, entry in manifest.kinds.items()}
        history = SessionHistory.from_json(parts[HISTORY_FILE])
    except (ValueError, KeyError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise ModelError(f"The detector's files cannot be read ({error}). Train the detector again.") from error
    found = version_of(models)
    if found != manifest.version:
        raise ModelError(f"Wanted the model {manifest.version}; its arrays make {found}. Train the detector again.")
    return Detector(
        models=MappingProxyType(models),
        history=history,
        version=manifest.version,
        seed=manifest.seed,
        trained_until_at=manifest.trained_until_at,
        session_counts=MappingProxyType(manifest.session_counts),
    )


def has_detector(store: ArtifactStore) -> bool:
    """Whether there is a detector to load."""
    return MANIFEST in store.names()


def _manifest(content: bytes) -> _Manifest:
    try:
        manifest = msgspec.json.decode(content, type=_Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{MANIFEST} is not a detector's manifest ({error}). Train the detector again.") from error
    if manifest.format != FORMAT or manifest.features != MODEL_FEATURES:
        raise SpecMismatchError(
            f"Wanted a detector of format {FORMAT} on {len(MODEL_FEATURES)} features; found format {manifest.format} "
            f"on {', '.join(manifest.features)}. Train the detector again with this version."
        )
    return manifest


def _model(entry: _Kind, kind: str, arrays: Mapping[str, NDArray[Any]]) -> KindModel:
    def of(part: str) -> dict[str, NDArray[Any]]:
        start = f"{kind}.{part}."
        return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}

    names = entry.names
    stack = Stack(
        forest=IsolationForest.from_arrays(of("forest"), names=names["forest"], subsample=entry.subsample),
        extended=ExtendedForest.from_arrays(of("extended"), names=names["extended"]),
        neighbours=Neighbours.from_arrays(of("neighbours"), names=names["neighbours"], k=entry.neighbours),
        faults=FaultClassifier.from_arrays(of("faults"), names=names["faults"]) if "faults" in names else None,
        held_out={part: arrays[f"{kind}.{part}-held-out"] for part in names},
        rule_evidence=entry.rule_evidence,
        unbroken=entry.unbroken,
        weights=entry.weights,
    )
    threshold = Threshold(
        held_out=arrays[f"{kind}.held-out"],
        station_weeks=entry.station_weeks,
        alarms_per_station_week=entry.alarms_per_station_week,
    )
    return KindModel(stack=stack, threshold=threshold)


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An npz with a fixed time of writing, so that the same arrays give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in sorted(arrays.items()):
            member = io.BytesIO()
            np.lib.format.write_array(member, part, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, member.getvalue())
    return buffer.getvalue()


def _arrays(content: bytes) -> dict[str, NDArray[Any]]:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
