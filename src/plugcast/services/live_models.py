"""A folder of models as what forecasts a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugcast.forecast import artefacts
from plugcast.forecast.live import LiveModels

if TYPE_CHECKING:
    from plugcast.ports import ArtifactStore


def load_live(store: ArtifactStore) -> LiveModels:
    """What ``plugcast train`` left: the short pair, and how to tell that an input is unlike its training.

    Raises:
        ModelNotFoundError: There are no models.
        ModelError: They are damaged, or of another version.
    """
    description = artefacts.describe(store)
    return LiveModels(
        spec=description.spec,
        short=artefacts.load_short(store, description),
        unlike=artefacts.load_unlike(store, description),
        version=description.seal[:16],
    )
