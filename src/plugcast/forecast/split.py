"""Who and when a model may learn from: by time, with some assets never seen. Nothing is drawn at random."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugcast.forecast.panel import Panel


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Boundaries of a split; ``cut_us`` is where the test part begins."""

    cut_us: int
    unseen: np.ndarray
    """Bool per asset code: never trained on."""

    def train_rows(self, panel: Panel, row: np.ndarray, outcome_row: np.ndarray) -> np.ndarray:
        """Of some origins those of seen assets whose outcome was known before the cut. Bool, shape of ``row``."""
        resolved = panel.known_us[outcome_row] < self.cut_us
        return np.asarray(resolved & ~self.unseen[panel.asset[row]])

    def test_rows(self, panel: Panel, row: np.ndarray, *, unseen: bool) -> np.ndarray:
        """Of some origins those after the cut, of seen or of unseen assets. Bool, shape of ``row``."""
        later = panel.timestamp_us[row] >= self.cut_us
        return np.asarray(later & (self.unseen[panel.asset[row]] == unseen))


def by_time(panel: Panel, *, test_share: float, unseen_share: float) -> Split:
    """Keep the last ``test_share`` of the time span for testing, and ``unseen_share`` of the assets.

    Which assets are unseen follows from a hash of their names, so that it does not change as others join.
    """
    first, last = int(panel.timestamp_us.min()), int(panel.timestamp_us.max())
    cut = last - round((last - first) * test_share)
    return Split(cut_us=cut, unseen=unseen_assets(panel.asset_ids, unseen_share))


def unseen_assets(asset_ids: Sequence[str], share: float) -> np.ndarray:
    """Bool per asset: the ``share`` with the smallest hashes of their names (rounded, never all of them)."""
    rank = np.argsort([hashlib.sha256(name.encode()).hexdigest() for name in asset_ids])
    chosen = np.zeros(len(asset_ids), bool)
    chosen[rank[: min(round(len(asset_ids) * share), len(asset_ids) - 1)]] = True
    return chosen


def thin(row: np.ndarray, most: int) -> np.ndarray:
    """At most ``most`` of the rows, evenly spaced."""
    if len(row) <= most:
        return row
    return np.asarray(row[np.linspace(0, len(row) - 1, most).astype(np.int64)])
