"""Short-lead forecasts of many assets as their samples come, to the bits of the batch's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from plugcast.features.asset_slots import HOURS
from plugcast.features.history import Past
from plugcast.features.online_many import OnlineMany
from plugcast.forecast.lead_columns import LEAD_COLUMNS, lead_columns, lead_us

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from plugcast.features.online_many import Columns
    from plugcast.features.spec import FeatureSpec
    from plugcast.forecast.short import ShortModels
    from plugcast.trees.packed.predictor import Packed


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveModels:
    """What answers a sample."""

    spec: FeatureSpec
    short: ShortModels
    unlike: Packed | None
    """How unlike the training an input is; None where training left it out."""
    version: str
    """Tells these models from others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """Forecasts of the samples taken, in order of arrival; every array but ``taken`` has shape (m,)."""

    taken: NDArray[np.bool_]
    """(n,) False where a sample was late; m of them are True."""
    plug_probability: NDArray[np.float64]
    energy_to_full_pct: NDArray[np.float64]
    """NaN where the state of charge is unknown."""
    unlike: NDArray[np.float64] | None
    """Isolation score in (0, 1]: 0.5 is ordinary, HIGHER is less like anything in training."""
    ended_pages: NDArray[np.int64]
    """See ``features.online_many.Folded``."""


class LiveForecaster:
    """Folds samples and forecasts at the models' lead; state is in ``fold.slots``."""

    def __init__(self, models: LiveModels) -> None:
        self.models = models
        self.fold = OnlineMany(models.spec)
        self._lead_us = int(lead_us(np.array([models.short.lead_min]))[0])
        self._width = len(models.spec.columns)
        columns = (*models.spec.columns, *LEAD_COLUMNS)
        names = () if models.unlike is None else models.unlike.forest.names
        self._unlike_order = np.array([columns.index(name) for name in names], np.int64)

    def push(self, batch: Columns) -> Live:
        """Take a batch and forecast each sample from what was known with it."""
        hour, day = self.fold.clock.local(batch.at_us + self._lead_us)
        folded = self.fold.push(batch, day * HOURS + hour.astype(np.int64))
        kept = np.flatnonzero(folded.taken)
        matrix = np.empty((len(kept), self._width + len(LEAD_COLUMNS)), np.float32)
        matrix[:, : self._width] = folded.rows[kept]
        matrix[:, self._width :] = lead_columns(
            np.full(len(kept), self.models.short.lead_min),
            hour[kept],
            day[kept],
            _some(folded.same_hour, kept),
            _some(folded.same_type, kept),
        )
        if not len(kept):
            probability = energy = unlike = np.zeros(0)
        else:
            probability, energy = self.models.short.answer(matrix, batch.soc[kept])
            unlike = self._unlike(matrix)
        return Live(
            taken=folded.taken,
            plug_probability=probability,
            energy_to_full_pct=energy,
            unlike=None if self.models.unlike is None else unlike,
            ended_pages=folded.ended_pages,
        )

    def _unlike(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        if self.models.unlike is None:
            return np.zeros(0)
        return self.models.unlike.predict(matrix[:, self._unlike_order])


def _some(past: Past, kept: NDArray[np.int64]) -> Past:
    return Past(
        samples=past.samples[kept],
        plugged=past.plugged[kept],
        with_soc=past.with_soc[kept],
        soc_milli=past.soc_milli[kept],
    )
