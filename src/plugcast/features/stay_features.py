"""What was known of a visit at plug-in, or some hours into it: the driver's habits, the site's, and what was declared.

Own habits are weighted quantiles of the driver's past visits under several kernels: near in clock time, the same
weekday, the same kind of declaration, the same distance from the visit before. Everything rests on visits whose record
was known strictly before the instant asked for; hours into a visit only past stays that lasted longer are compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from plugcast.features.clock import apart_h, clock_gap, usual_hour
from plugcast.features.stay_visits import DAY_US, HOUR_US, SATURDAY, weekday

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugcast.features.stay_visits import StayBook

LEVELS: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
MIDDLE: Final = LEVELS.index(0.5)
OWN_VISITS: Final = 250
"""Older visits of a driver are let go."""
POOL_VISITS: Final = 800
WIDE: Final = ("near", "day_type")
"""Kernels that give all LEVELS; the others their median alone."""
KERNELS: Final = (
    "all",
    "near",
    "close",
    "day_type",
    "weekday",
    "fortnight",
    "declared",
    "asked",
    "gap",
    "recent",
)
FULL_MARGIN_H: Final = 0.15
"""Charging that ended this long before the plug-out ended because the car was full."""
LEAST_H: Final = 0.1
LEAST_KWH: Final = 0.5
FEW: Final = 4
RECENT: Final = 5
RATE_DAYS: Final = 60.0


def _kernel_columns(prefix: str) -> tuple[str, ...]:
    return tuple(
        f"{prefix}_{kernel}_q{round(level * 100):02d}"
        for kernel in KERNELS
        for level in (LEVELS if kernel in WIDE else (0.5,))
    )


SITUATION: Final = ("hour", "day_of_week", "elapsed_h", "identified", "declared_h", "declared_kwh", "declared_leave")
POOLED: Final = (
    *(f"pool_{what}_q{round(level * 100):02d}" for what in ("stay", "energy") for level in LEVELS),
    "pool_stay_all",
    "pool_energy_all",
    "pool_today",
)
HABIT: Final = (
    "own_visits",
    "days_since_last",
    "hours_since_leaving",
    "last_stay_h",
    "last_energy_kwh",
    "last2_stay_h",
    "last2_energy_kwh",
    "last3_stay_h",
    "last3_energy_kwh",
    "last_hour",
    "visits_7d",
    "visits_30d",
    "visits_today",
    "kwh_today",
    "own_max_kwh",
    "own_p90_kwh",
    "kwh_per_day",
    "kwh_since_last",
    "kwh_by_gap",
    "last_was_full",
    "full_share",
    "full_energy_kwh",
    "own_power_kw",
    "hour_off_habit",
    "hour_spread",
    "hour_rank",
    "declared_h_error",
    "declared_h_mended",
    "declared_h_off_habit",
    "declared_kwh_share",
    "declared_kwh_mended",
    "declared_kwh_off_habit",
    "near_weight",
    "declared_weight",
    "near_stay_mean",
    "near_stay_sd",
    "near_energy_mean",
    "stay_by_hour",
    "leave_near",
    "leave_day_type",
    "leave_all",
)
STAY_COLUMNS: Final = (*SITUATION, *POOLED, *HABIT, *_kernel_columns("stay"), *_kernel_columns("energy"))
"""The columns of :func:`stay_features`, in order."""
_PLACE: Final = {name: place for place, name in enumerate(STAY_COLUMNS)}
_KERNEL_LEVELS: Final = np.array([kernel in WIDE or level == 0.5 for kernel in KERNELS for level in LEVELS])  # noqa: PLR2004 - the median


def stay_features(book: StayBook, row: np.ndarray, elapsed_h: np.ndarray | float = 0.0) -> np.ndarray:
    """Features of sessions ``elapsed_h`` after their plug-in, float32 of shape (len(row), len(STAY_COLUMNS)).

    Args:
        book: The site's sessions.
        row: Rows of the book.
        elapsed_h: Hours since plug-in, one or one a row.

    Costs about half a millisecond a row, less without a known driver. NaN = not known.
    """
    look = _Lookup.of(book)
    elapsed = np.broadcast_to(np.asarray(elapsed_h, np.float64), row.shape)
    made = np.full((len(row), len(STAY_COLUMNS)), np.nan, np.float64)
    for place, (index, gone_h) in enumerate(zip(row.tolist(), elapsed.tolist(), strict=True)):
        found = look.pooled(index, gone_h) | look.habits(index, gone_h)
        made[place, [_PLACE[name] for name in found]] = list(found.values())
        own = look.kernels(index, gone_h)
        if own is not None:
            made[place, -len(own) :] = own
    declared_leave = book.hour[row] + book.declared_h[row]
    made[:, : len(SITUATION)] = np.column_stack(
        [
            book.hour[row],
            weekday(book.day[row]),
            elapsed,
            book.user[row] >= 0,
            book.declared_h[row],
            book.declared_kwh[row],
            declared_leave,
        ]
    )
    return made.astype(np.float32)


def column(matrix: np.ndarray, name: str) -> np.ndarray:
    """One feature of a matrix, float64."""
    return np.asarray(matrix[:, _PLACE[name]], np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lookup:
    """Indices into the book's past by driver and by class, both in order of availability."""

    book: StayBook
    own: dict[int, np.ndarray]
    known: dict[int, np.ndarray]
    gap_h: np.ndarray
    """Of each past visit: hours since the driver left the visit before it."""

    @classmethod
    def of(cls, book: StayBook) -> _Lookup:
        past = book.past
        by_user = np.argsort(past.user, kind="stable")
        names, starts = np.unique(past.user[by_user], return_index=True)
        parts = np.split(by_user, starts[1:]) if len(names) else []
        own = {int(name): part for name, part in zip(names, parts, strict=True)}
        gap = np.full(len(past.user), np.nan)
        for name, part in own.items():
            if name >= 0:
                before = np.searchsorted(past.known_us[part], past.arrival_us[part]) - 1
                left = past.known_us[part[np.maximum(before, 0)]]
                gap[part] = np.where(before >= 0, (past.arrival_us[part] - left) / HOUR_US, np.nan)
        identified = past.user >= 0
        # pooled norms are kept apart: those who say nothing often only top up
        own |= {-2: np.flatnonzero(identified), -1: np.flatnonzero(~identified)}
        return cls(book=book, own=own, known={name: past.known_us[part] for name, part in own.items()}, gap_h=gap)

    def _before(self, name: int, now_us: float, most: int) -> np.ndarray:
        part = self.own.get(name)
        if part is None:
            return np.zeros(0, np.int64)
        until = int(np.searchsorted(self.known[name], now_us, side="left"))
        return part[max(0, until - most) : until]

    def _now(self, row: int, elapsed_h: float) -> float:
        return float(self.book.arrival_us[row] + round(elapsed_h * HOUR_US))

    def pooled(self, row: int, elapsed_h: float) -> dict[str, float]:
        """The site's visits of the same class, near in clock time and of the same day type."""
        book, past, now = self.book, self.book.past, self._now(row, elapsed_h)
        part = self._before(-2 if book.user[row] >= 0 else -1, now, POOL_VISITS)
        if not len(part):
            return {}
        near = np.exp(-0.5 * apart_h(past.hour[part], book.hour[row]) ** 2)
        weight = near * 0.5 ** ((now - past.arrival_us[part]) / DAY_US / 30)
        same = (weekday(past.day[part]) >= SATURDAY) == (weekday(book.day[row]) >= SATURDAY)
        longer = past.stay_h[part] > elapsed_h
        weights = np.stack([weight * np.where(same, 1.0, 0.2) + 1e-9, np.ones(len(part))]) * longer
        stay, energy = (_quantiles(value[part], weights) for value in (past.stay_h, past.energy_kwh))
        values = [*stay[0], *energy[0], stay[1, MIDDLE], energy[1, MIDDLE], (past.day[part] == book.day[row]).sum()]
        return dict(zip(POOLED, values, strict=True))

    def _mine(self, row: int, elapsed_h: float) -> np.ndarray:
        user = int(self.book.user[row])
        return self._before(user, self._now(row, elapsed_h), OWN_VISITS) if user >= 0 else np.zeros(0, np.int64)

    def habits(self, row: int, elapsed_h: float) -> dict[str, float]:
        """The driver's last visits, rhythm, battery and declarations."""
        book, past, part = self.book, self.book.past, self._mine(row, elapsed_h)
        found = {"own_visits": float(len(part))}
        if not len(part):
            return found
        stay, energy, hour = past.stay_h[part], past.energy_kwh[part], past.hour[part]
        now = self._now(row, elapsed_h)
        age = (now - past.arrival_us[part]) / DAY_US
        today = past.day[part] == book.day[row]
        for back, name in enumerate(("last", "last2", "last3")[: len(part)], 1):
            found |= {f"{name}_stay_h": stay[-back], f"{name}_energy_kwh": energy[-back]}
        usual, spread = usual_hour(hour)
        off = clock_gap(book.hour[row], usual)
        found |= {
            "days_since_last": float(age[-1]),
            "hours_since_leaving": (now - past.known_us[part[-1]]) / HOUR_US,
            "last_hour": hour[-1],
            "visits_7d": float((age < 7).sum()),  # noqa: PLR2004 - as named
            "visits_30d": float((age < 30).sum()),  # noqa: PLR2004 - as named
            "visits_today": float(today.sum()),
            "kwh_today": float(energy[today].sum()),
            "own_max_kwh": float(energy.max()),
            "own_p90_kwh": float(np.quantile(energy, 0.9)),
            "hour_off_habit": off,
            "hour_spread": spread,
            "hour_rank": float((clock_gap(hour, usual) < off).mean()),
        }
        return found | self._battery(part, age) | self._declared(row, part)

    def _battery(self, part: np.ndarray, age: np.ndarray) -> dict[str, float]:
        """What the car uses between visits, and what it takes when it leaves full."""
        past = self.book.past
        stay, energy, charging = past.stay_h[part], past.energy_kwh[part], past.charging_h[part]
        span = min(max(float(age.max()), 1.0), RATE_DAYS)
        per_day = float(energy[age <= span].sum()) / span
        full = charging < stay - FULL_MARGIN_H
        hours = np.maximum(np.fmin(charging, stay), LEAST_H)
        found = {
            "kwh_per_day": per_day,
            "kwh_since_last": per_day * float(age[-1]),
            "last_was_full": float(full[-1]),
            "full_share": float(full.mean()),
            "own_power_kw": float(np.median(energy / hours)),
        }
        if full.any():
            found["full_energy_kwh"] = float(np.median(energy[full]))
        if len(part) >= FEW:
            apart = np.maximum(np.diff(past.arrival_us[part]) / DAY_US, 0.2)
            found["kwh_by_gap"] = float(np.median(energy[1:] / apart)) * max(float(age[-1]), 0.2)
        return found

    def _declared(self, row: int, part: np.ndarray) -> dict[str, float]:
        """This declaration beside the driver's earlier ones and what came of them."""
        book, past = self.book, self.book.past
        told = part[~np.isnan(past.declared_h[part]) & ~np.isnan(past.declared_kwh[part])][-20:]
        if not len(told) or math.isnan(book.declared_h[row]):
            return {}
        error = float(np.median(past.stay_h[told] - past.declared_h[told]))
        share = float(np.median(past.energy_kwh[told] / np.maximum(past.declared_kwh[told], LEAST_KWH)))
        return {
            "declared_h_error": error,
            "declared_h_mended": book.declared_h[row] + error,
            "declared_h_off_habit": book.declared_h[row] - float(np.median(past.declared_h[told])),
            "declared_kwh_share": share,
            "declared_kwh_mended": book.declared_kwh[row] * share,
            "declared_kwh_off_habit": book.declared_kwh[row] - float(np.median(past.declared_kwh[told])),
        }

    def kernels(self, row: int, elapsed_h: float) -> np.ndarray | None:
        """Weighted quantiles of own visits and what goes with them: the tail of the columns from ``near_weight`` on."""
        book, past, part = self.book, self.book.past, self._mine(row, elapsed_h)
        if not len(part):
            return None
        stay, energy = past.stay_h[part], past.energy_kwh[part]
        weights = self._weights(row, part, elapsed_h)
        still = weights * (stay > elapsed_h)
        near, day_type = still[KERNELS.index("near")], still[KERNELS.index("day_type")]
        gap = clock_gap(past.hour[part], book.hour[row])
        leave = gap + stay
        leaves = _quantiles(leave, np.stack([near, day_type, still[0]]) * (leave > elapsed_h))[:, MIDDLE]
        total = near.sum()
        mean, squares, kwh = (near @ np.stack([stay, stay**2, energy], 1)) / total if total > 0 else (math.nan,) * 3
        by_hour = _line(gap, stay, day_type) if len(part) > FEW else math.nan
        head = (
            float(weights[KERNELS.index("near")].sum()),
            float(weights[KERNELS.index("declared")].sum()),
            mean,
            math.sqrt(max(squares - mean**2, 0.0)) if total > 0 else math.nan,
            kwh,
            by_hour,
            *leaves,
        )
        tails = [_quantiles(value, still).ravel()[_KERNEL_LEVELS] for value in (stay, energy)]
        return np.concatenate([head, *tails])

    def _weights(self, row: int, part: np.ndarray, elapsed_h: float) -> np.ndarray:
        """Shape (len(KERNELS), len(part)); every kernel fades with age and leans on ``day_type`` where it is empty."""
        book, past = self.book, self.book.past
        age = (self._now(row, elapsed_h) - past.arrival_us[part]) / DAY_US
        apart = apart_h(past.hour[part], book.hour[row])
        days, today = weekday(past.day[part]), weekday(book.day[row])
        same_type = (days >= SATURDAY) == (today >= SATURDAY)
        near, wide = np.exp(-0.5 * apart**2), np.exp(-0.5 * (apart / 2) ** 2)
        months = 0.5 ** (age / 60)
        day_type = np.exp(-0.5 * (apart / 1.5) ** 2) * 0.5 ** (age / 90) * np.where(same_type, 1.0, 0.1)
        declared = _bump(past.declared_h[part] - book.declared_h[row], 0.75)
        asked = _bump(np.log(past.declared_kwh[part] / book.declared_kwh[row]), 0.3)
        came = self._before(int(book.user[row]), float(book.arrival_us[row]), 1)
        gap = (book.arrival_us[row] - past.known_us[came[0]]) / HOUR_US if len(came) else math.nan
        gaps = _bump(np.log(np.maximum(self.gap_h[part], 1.0) / max(gap, 1.0)), 0.4)
        weights = {
            "all": np.ones(len(part)),
            "near": near * 0.5 ** (age / 45),
            "close": np.exp(-0.5 * (apart / 0.5) ** 2) * 0.5 ** (age / 20),
            "day_type": day_type,
            "weekday": near * 0.5 ** (age / 90) * np.where(days == today, 1.0, 0.02),
            "fortnight": day_type * np.where((past.day[part] - book.day[row]) % 14 == 0, 1.0, 0.02),
            "declared": declared * asked * wide * months,
            "asked": asked * 0.5 ** (age / 90),
            "gap": gaps * wide * months,
            "recent": np.arange(len(part)) >= len(part) - RECENT,
        }
        return np.stack([weights[name] + 1e-12 * day_type for name in KERNELS])


def weighted_quantiles(value: np.ndarray, weight: np.ndarray, levels: Sequence[float] = LEVELS) -> np.ndarray:
    """Quantiles of a weighted sample: the smallest value whose share of the weight reaches the level.

    >>> weighted_quantiles(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 8.0]), (0.1, 0.5, 0.95)).tolist()
    [1.0, 2.0, 3.0]
    """
    return np.asarray(_quantiles(value, weight[None, :], levels)[0])


def _quantiles(value: np.ndarray, weights: np.ndarray, levels: Sequence[float] = LEVELS) -> np.ndarray:
    """Shape (kernels, levels); NaN for a kernel without weight."""
    order = np.argsort(value, kind="stable")
    ordered, share = value[order], np.cumsum(weights[:, order], axis=1)
    found = np.full((len(weights), len(levels)), np.nan)
    for kernel, total in enumerate(share[:, -1].tolist()):
        if total > 0:
            place = np.searchsorted(share[kernel], np.array(levels) * total * (1 - 1e-12), side="left")
            found[kernel] = ordered[np.minimum(place, len(ordered) - 1)]
    return found


def _bump(apart: np.ndarray, width: float) -> np.ndarray:
    """Gaussian weight; 0 where the distance is not known."""
    return np.where(np.isnan(apart), 0.0, np.exp(-0.5 * (np.nan_to_num(apart) / width) ** 2))


def _line(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    """Value at x = 0 of a weighted straight line, its slope shrunk (0.3 h² of arrival times count as none)."""
    total = weight.sum()
    if total <= 0:
        return math.nan
    x_mean, y_mean = weight @ x / total, weight @ y / total
    slope = (weight @ ((x - x_mean) * (y - y_mean)) / total) / (weight @ (x - x_mean) ** 2 / total + 0.3)
    return float(y_mean - slope * x_mean)
