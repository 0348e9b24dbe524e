"""The figures of past days against a plain reading of their definitions, one origin at a time, in pure Python."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from plugcast.features import analogs, past_days
from plugcast.features.grid import STEPS_PER_DAY, UNKNOWN, StateGrid

START = datetime(2019, 2, 20, tzinfo=UTC)
ZONE = ZoneInfo("America/Los_Angeles")
QUARTER = timedelta(minutes=15)


class Reference:
    """Reads a grid by local wall clock, with loops."""

    def __init__(self, state: list[list[int]]) -> None:
        self.state = state
        self.steps = len(state[0])

    def local(self, step: int) -> datetime:
        return (START + step * QUARTER).astimezone(ZONE)

    def step_before(self, step: int, days: int) -> int | None:
        """The step at the same wall clock some days before; None before the grid."""
        here = self.local(step)
        wall = here.replace(tzinfo=None) - timedelta(days=days)
        at = wall.replace(tzinfo=ZONE).astimezone(UTC)
        if at.astimezone(ZONE).replace(tzinfo=None) != wall:  # a time that the clocks skipped
            at = wall.replace(minute=0, tzinfo=ZONE).astimezone(UTC).replace(minute=0)
        found = (at - START) // QUARTER
        return found if found >= 0 else None

    def smooth(self, asset: int, step: int | None, origin: int) -> float | None:
        if step is None or step + 2 > origin or self.state[asset][step] == UNKNOWN:
            return None
        near = [self.state[asset][s] for s in range(max(step - 2, 0), step + 3) if self.state[asset][s] != UNKNOWN]
        return sum(near) / len(near)

    def site(self, step: int) -> float | None:
        known = [row[step] for row in self.state if row[step] != UNKNOWN]
        return sum(known) / len(known) if known else None

    def site_smooth(self, step: int | None, origin: int) -> float | None:
        if step is None or step + 2 > origin or self.site(step) is None:
            return None
        near = [share for s in range(max(step - 2, 0), step + 3) if (share := self.site(s)) is not None]
        return sum(near) / len(near)

    def kind(self, step: int) -> int:
        weekday = self.local(step).weekday()
        return 2 if weekday == 6 else 1 if weekday == 5 else 0

    def alike(self, step: int, days: int) -> float:
        mine = self.kind(step)
        weekday = (self.local(step).date() - timedelta(days=days)).weekday()
        theirs = 2 if weekday == 6 else 1 if weekday == 5 else 0
        return 1.0 if mine == theirs else 0.5 if mine and theirs else 0.15

    def figures(self, asset: int, origin: int, target: int) -> dict[str, float]:
        lead, now = target - origin, self.state[asset][origin]
        total, weight, site_total, site_weight, same_total, same_weight = 0.0, 0.0, 0.05, 0.1, 0.0, 0.0
        moved, moved_known, same_days = 0.0, 0.0, 0.0
        for days in range(1, past_days.DAYS + 1):
            there, here = self.step_before(target, days), self.step_before(origin, days)
            month, two_months = 0.5 ** (days / 28), 0.5 ** (days / 60)
            like = self.alike(target, days)
            pooled = self.site_smooth(there, origin)
            if pooled is not None:
                site_total += two_months * like * pooled
                site_weight += two_months * like
            own = self.smooth(asset, there, origin)
            if own is not None:
                total += month * like * own
                weight += month * like
                if here is not None and self.state[asset][here] == now:
                    same_total += month * own
                    same_weight += month
                    same_days += month
            if here is not None and here + lead <= origin:
                both = like * self.alike(origin, days) * month
                after = [row[here + lead] for row in self.state if row[here] == now and row[here + lead] != UNKNOWN]
                moved += both * sum(after)
                moved_known += both * len(after)
        site = site_total / site_weight
        own_type = (total + 2 * site) / (weight + 2)
        share = (moved + 2 * site) / (moved_known + 2)
        odds = _odds(own_type) * _odds(share) / _odds(site)
        return {
            "own_hour_of_week": self.hour_of_week(asset, origin, target),
            "site_type": site,
            "own_type": own_type,
            "site_same_state": share,
            "same_state": (same_total + 2 * odds / (1 + odds)) / (same_weight + 2),
            "same_state_days": same_days,
            "stay_goes_on": self.stay(asset, origin, lead),
        }

    def hour_of_week(self, asset: int, origin: int, target: int) -> float:
        own, pooled = [], []
        for weeks in range(1, self.steps // (7 * STEPS_PER_DAY) + 3):
            there = self.step_before(target, 7 * weeks)
            own += [] if (share := self.smooth(asset, there, origin)) is None else [share]
            pooled += [] if (share := self.site_smooth(there, origin)) is None else [share]
        everyone = (sum(pooled) + 0.25) / (len(pooled) + 0.5)
        return (sum(own) + 2 * everyone) / (len(own) + 2)

    def stay(self, asset: int, origin: int, lead: int) -> float:
        states = self.state[asset]
        runs, begin = [], 0
        for step in range(1, self.steps):
            if states[step] != states[step - 1]:
                runs.append((begin, step, states[step - 1]))
                begin = step
        now = states[origin]
        start = max(s for s in range(origin + 1) if s == 0 or states[s - 1] != states[s])
        age = origin - start
        ended = [
            high - low
            for low, high, value in runs
            if value == now and low > 0 and high <= origin and UNKNOWN not in (states[low - 1], states[high])
        ][-past_days.STAYS :]
        lasted = [length for length in ended if length > age]
        stay = (sum(length > age + lead for length in lasted) + 0.5) / (len(lasted) + 1)
        return stay if now == 1 else 1 - stay


def _odds(chance: float) -> float:
    held = min(max(chance, 0.002), 0.998)
    return held / (1 - held)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_figures_are_what_their_definitions_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps = 30 * STEPS_PER_DAY
    state = np.zeros((2, steps), np.int8)
    for row in state:
        row[:] = np.searchsorted(np.sort(rng.integers(0, steps, 70)), np.arange(steps), side="right") % 2
        gap = int(rng.integers(0, steps - 100))
        row[gap : gap + 60] = UNKNOWN
        row[: rng.integers(0, 300)] = UNKNOWN
    grid = StateGrid(start_us=round(START.timestamp()) * 1_000_000, time_zone=str(ZONE), state=state)
    asset, step = np.nonzero(state != UNKNOWN)
    chosen = rng.choice(len(asset), 3)
    lead = rng.integers(1, 193, 3)
    ours = analogs.features(grid, asset[chosen], step[chosen], step[chosen] + lead)
    slow = Reference(state.tolist())
    for place, (a, s, ahead) in enumerate(zip(asset[chosen], step[chosen], lead, strict=True)):
        for name, wanted in slow.figures(int(a), int(s), int(s + ahead)).items():
            found = float(ours[place, analogs.COLUMNS.index(name)])
            assert math.isclose(found, wanted, rel_tol=2e-4, abs_tol=2e-4), (name, found, wanted)
