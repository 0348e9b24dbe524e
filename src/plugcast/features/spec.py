"""What a model is fed: one frozen value that batch and online computation both follow, and its hash."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

SPEC_VERSION: Final = 1
HOUR_BINS: Final = 168
"""Local hours of the week, Monday 00 h = 0."""


class Feature(msgspec.Struct, frozen=True, kw_only=True):
    """One column of the origin's feature vector."""

    name: str
    look_back: int
    """Samples before the origin that it needs; 0 = the origin alone."""
    gap_masked: bool
    """True: NaN where a gap lies inside the look-back."""
    dtype: str = "float32"


class FeatureSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The features of a sample as known when it became available.

    The history behind the lead features (see ``features.history``) is part of the same contract: counts per local
    hour of the week over the samples strictly before the origin.

    >>> FeatureSpec(time_zone="Europe/Oslo").columns[:3]
    ('soc', 'soc_delta', 'soc_lag_1')
    """

    version: int = SPEC_VERSION
    time_zone: str = "UTC"
    gap_limit_min: float = 240.0
    features: tuple[Feature, ...] = (
        Feature(name="soc", look_back=0, gap_masked=False),
        Feature(name="soc_delta", look_back=1, gap_masked=True),
        Feature(name="soc_lag_1", look_back=1, gap_masked=True),
        Feature(name="soc_lag_2", look_back=2, gap_masked=True),
        Feature(name="soc_lag_3", look_back=3, gap_masked=True),
        Feature(name="minutes_since_previous", look_back=1, gap_masked=False),
        Feature(name="is_plugged_in", look_back=0, gap_masked=False),
        Feature(name="minutes_in_state", look_back=0, gap_masked=True),
        Feature(name="hour", look_back=0, gap_masked=False),
        Feature(name="day_of_week", look_back=0, gap_masked=False),
        Feature(name="power_kw", look_back=0, gap_masked=False),
        Feature(name="capacity_kwh", look_back=0, gap_masked=False),
    )

    @property
    def columns(self) -> tuple[str, ...]:
        """The feature names in the order of the vector."""
        return tuple(feature.name for feature in self.features)

    def canonical(self) -> bytes:
        """The spec as JSON with one spelling, for hashing and for storage beside a model."""
        return msgspec.json.encode(self, order="sorted")

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON; a model refuses another."""
        return hashlib.sha256(self.canonical()).hexdigest()[:16]
