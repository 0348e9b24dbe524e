"""Where a backtest fits and where it tests: later time, users or sites never seen, or life after a date."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from plugcast.errors import InputError, NoUsableRowsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

TEST_SHARE: Final = 0.25
GROUPS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Fit on what was known at ``origin_at``; test the samples that became known in ``[start_at, end_at)``."""

    name: str
    origin_at: datetime
    start_at: datetime
    end_at: datetime
    hidden: frozenset[str] = frozenset()
    """Assets kept from the fit."""
    tested: frozenset[str] | None = None
    """Assets tested; None = all."""

    def __post_init__(self) -> None:
        """Refuse a fold that would be fitted on its own test part."""
        if not self.origin_at <= self.start_at < self.end_at:
            raise ValueError(f"fold {self.name}: wanted origin <= start < end, found {self}")

    def learns_like(self, other: Fold) -> bool:
        """Whether a model fitted for the other fold is the one for this."""
        return self.origin_at == other.origin_at and self.hidden == other.hidden


def later_time(
    first_at: datetime, last_at: datetime, *, folds: int = 3, test_share: float = TEST_SHARE, refit: bool = True
) -> tuple[Fold, ...]:
    """The last share of the time in equal folds, the model fitted anew at the start of each.

    >>> from datetime import UTC, datetime
    >>> first, last = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 21, tzinfo=UTC)
    >>> [f"{fold.start_at:%d}" for fold in later_time(first, last, folds=2, test_share=0.4)]
    ['13', '17']
    """
    return after(last_at - (last_at - first_at) * test_share, last_at, folds=folds, refit=refit)


def after(at: datetime, last_at: datetime, *, folds: int = 3, refit: bool = True) -> tuple[Fold, ...]:
    """From a date on, in equal folds.

    Args:
        at: Where the test part begins: a change of regime, say.
        last_at: The newest sample; it is tested.
        folds: How many.
        refit: False: the model of the first fold serves all.

    Raises:
        NoUsableRowsError: The date is past the data.
    """
    if at >= last_at:
        raise NoUsableRowsError(f"Nothing comes after {at.isoformat()}: the data end at {last_at.isoformat()}.")
    length = (last_at - at) / folds
    edges = [at + number * length for number in range(folds)] + [last_at + timedelta(microseconds=1)]
    return tuple(
        Fold(name=f"{start:%Y-%m-%d}", origin_at=start if refit else at, start_at=start, end_at=end)
        for start, end in pairwise(edges)
    )


def unseen(
    asset_ids: Sequence[str], cut_at: datetime, last_at: datetime, *, group_of: Mapping[str, str] | None = None
) -> tuple[Fold, ...]:
    """Each group of assets is tested after the cut by a model that was fitted before it on all the others.

    Args:
        asset_ids: All assets.
        cut_at: Where the test part begins.
        last_at: The newest sample.
        group_of: Site of each asset, for sites never seen; by default four groups by a hash of the name.

    Raises:
        InputError: There is one group only.
    """
    groups: dict[str, set[str]] = {}
    for name in asset_ids:
        groups.setdefault(hashed_group(name) if group_of is None else group_of[name], set()).add(name)
    if len(groups) < 2:  # noqa: PLR2004 - one to learn from, one to test
        raise InputError(
            f"Wanted at least two groups of assets, to learn from one and test on the other; found {len(groups)} "
            f"({', '.join(sorted(groups))}). Give data of several, or split by time."
        )
    end_at = last_at + timedelta(microseconds=1)
    return tuple(
        Fold(
            name=name,
            origin_at=cut_at,
            start_at=cut_at,
            end_at=end_at,
            hidden=frozenset(groups[name]),
            tested=frozenset(groups[name]),
        )
        for name in sorted(groups)
    )


def hashed_group(name: str) -> str:
    """One of four groups, which stays the same as others join."""
    return f"group {int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % GROUPS + 1}"
