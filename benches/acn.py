"""Charging in acnportal beside the field's own algorithms: a real month at Caltech, and a congested week.

Settings of the published comparison: March 2019, 5 min, 208 V, stays cut to 144 periods, requests made feasible,
SCE TOU-EV-4, 0.30 $/kWh earned. Profit is judged against one plan that knows all sessions. Times are CPU time of
``schedule``. ``ours, same knowledge`` is told what the others are; ``ours, with outlook`` has, on top, what a kW of
peak was worth on the days of the two months before. ``practical`` has the real stations' pilots and batteries that
taper; the reference's programme goes straight to its solver there, and through CVXPY at size ``full``. Settings are
chosen at size ``february``, never on March. Without acnportal and cvxpy (``scripts/setup bench``) nothing runs.
"""

from __future__ import annotations

import gzip
import json
import warnings
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from benches import acn_month as month
from benches.acn_asa import Asa, installed
from benches.data_folder import data_dir
from benches.kept import kept
from benches.registry import Bar, BenchSpec, Choice, Outcome, note

from plugcast.schedule.peak_worth import RestOfMonth, cost_of_levels
from plugcast.schedule.problem import VehicleNeed, build_problem, site_window

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benches.acn_month import Algorithm, Stay

    from plugcast.schedule.arrays import FloatArray

LEVELS_KW: Final = np.arange(4.0, 61.0, 2.0)
CHARGE_PER_KW: Final = 15.51
WEEKDAY_PRICES: Final = ((0, 0.06087), (8, 0.07492), (12, 0.0869), (18, 0.07492), (23, 0.06087))
WEEKEND_PRICE: Final = 0.06087
ZONE: Final = ZoneInfo("America/Los_Angeles")
CAP_KW: Final = 150.0
CONGESTED_KW: Final = 30.0
PROFIT_PCT, FORESIGHT_PCT, DELIVERED_PCT = 96.0, 97.0, 91.7
ASA_STEPS, PRACTICAL_POINTS = 50.0, 4.0
QUICK_PER_H: Final = 1.0 / 12.0
"""An hour earlier beside a kWh at all, as in the quick charge of the others: from 1 now to 0 at a horizon of 12 h."""
WORKDAYS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    last_day: int
    week: tuple[int, int]
    past_days: int
    whole: bool
    """Of the month: profit means something."""
    modelled: bool = False
    """The reference of the practical month goes through CVXPY."""
    start_at: datetime = month.START_AT
    keep: Path | None = None
    """Where each algorithm's figures are kept."""


SIZES: Final = {
    "small": _Size(last_day=1, week=(4, 4), past_days=8, whole=False),
    "month": _Size(last_day=31, week=(4, 8), past_days=59, whole=True),
    "full": _Size(last_day=31, week=(4, 8), past_days=59, whole=True, modelled=True),
    "february": _Size(last_day=31, week=(4, 8), past_days=31, whole=True, start_at=month.BEFORE),
}


def run(size: str) -> Outcome:
    """Every algorithm over the same sessions."""
    return run_chosen(size, Choice())


def run_chosen(size: str, choice: Choice) -> Outcome:
    """Some parts of it; the month on which settings are chosen has the practical part alone."""
    chosen = replace(SIZES[size], keep=choice.keep)
    if not installed():
        return Outcome(data="none: acnportal or cvxpy is not installed", cases=[], bars=[])
    worth = _worth(chosen.start_at.date(), chosen.past_days)
    cases: list[dict[str, Any]] = []
    bars: list[Bar] = []
    for name, part in PARTS.items():
        if name in (choice.parts or PARTS) and (name == "practical" or chosen.start_at == month.START_AT):
            made, promised = part(chosen, worth)
            cases, bars = cases + made, bars + promised
    return Outcome(
        data=f"Caltech, {chosen.start_at:%B %Y} (ACN-Data, March by way of acnportal-experiments)",
        cases=cases,
        bars=bars,
    )


def _speed(size: _Size, _worth: RestOfMonth | None) -> tuple[list[dict[str, Any]], list[Bar]]:
    """One day with the reference as its authors build it: all stations over the whole horizon."""
    from plugcast.simulate.acnportal import Plugcast  # noqa: PLC0415

    sessions = month.stays(last_day=1)
    every = {
        "adaptive charging algorithm": Asa(),
        "adaptive charging algorithm, without its modelling layer": Asa(only_taken=True, modelled=False),
        "ours, same knowledge": Plugcast(value_per_kwh=month.REVENUE_PER_KWH),
    }
    cases = [_case("one day, CPU", name, algorithm, sessions, size) for name, algorithm in every.items()]
    ratio = cases[0]["cpu_ms_median"] / cases[-1]["cpu_ms_median"]
    return cases, [_bar("adaptive charging algorithm's CPU a step over ours", ratio, ASA_STEPS)]


def _month(size: _Size, worth: RestOfMonth | None) -> tuple[list[dict[str, Any]], list[Bar]]:
    """The reference leaves stations without a car out here: the same programme in less than half the time."""
    if not size.whole:
        return [], []
    sessions = month.stays(last_day=size.last_day)
    best = month.optimum(sessions, cap_kw=CAP_KW)
    every = {**_field(), **_ours(worth), "adaptive charging algorithm": Asa(only_taken=True)}
    cases = [_case("month", name, algorithm, sessions, size, best=best) for name, algorithm in every.items()]
    of = {case["algorithm"]: case["profit_pct"] for case in cases}
    plain, asa = of["ours, same knowledge"], of["adaptive charging algorithm"]
    bars = [
        _bar("ours, same knowledge: profit, % of optimum", plain, PROFIT_PCT),
        _bar("ours, same knowledge: profit beside the adaptive charging algorithm's", plain, asa),
        Bar(name="most that ours exceeds a limit by, A", value=_over(cases), limit=1e-5, sense="at_most"),
    ]
    if "ours, with outlook" in of:
        bars.append(_bar("ours, with outlook: profit, % of optimum", of["ours, with outlook"], FORESIGHT_PCT))
    return cases, bars


def _congested(size: _Size, _worth: RestOfMonth | None) -> tuple[list[dict[str, Any]], list[Bar]]:
    from plugcast.simulate.acnportal import Plugcast  # noqa: PLC0415

    sessions = month.stays(first_day=size.week[0], last_day=size.week[1])
    most = month.optimum(sessions, cap_kw=CONGESTED_KW, most_energy=True)
    asked = sum(one.energy_kwh for one in sessions)
    field = {name: one for name, one in _field().items() if name != "uncontrolled"}
    ours = Plugcast(value_per_kwh=1.0, waiting_price_per_kwh_h=QUICK_PER_H)
    every = [
        *field.items(),
        ("adaptive charging algorithm", Asa(quick=True, only_taken=True)),
        ("ours, same knowledge", ours),
    ]
    cases = [_case("30 kW", name, one, sessions, size, cap_kw=CONGESTED_KW, tariff=False) for name, one in every]
    for case in cases:
        case["perfect_foresight_delivered_pct"] = 100.0 * most / asked
    bars = [
        _bar("30 kW: delivered, %", cases[-1]["delivered_pct"], DELIVERED_PCT),
        Bar(name="30 kW: most that ours exceeds a limit by, A", value=_over(cases), limit=1e-5, sense="at_most"),
    ]
    return cases, bars if size.whole else bars[1:]


def _practical(size: _Size, worth: RestOfMonth | None) -> tuple[list[dict[str, Any]], list[Bar]]:
    """Finite pilots, batteries that taper; the optimum is that of chargers and batteries without either."""
    start_at = size.start_at
    sessions = month.stays(last_day=size.last_day, car_kw=month.PILOT_KW, start_at=start_at)
    best = month.optimum(sessions, cap_kw=CAP_KW, car_kw=month.PILOT_KW, start_at=start_at)
    reference = Asa(practical=True, only_taken=True, modelled=size.modelled)
    every = [("adaptive charging algorithm", reference), *_ours(worth, every=1).items()]
    cases = [_case("practical", name, one, sessions, size, best=best, practical=True) for name, one in every]
    bars = [
        Bar(name="practical: most that ours exceeds a limit by, A", value=_over(cases), limit=1e-5, sense="at_most")
    ]
    if size.whole:
        lead = cases[-1]["profit_pct"] - cases[0]["profit_pct"]
        bars.append(_bar("practical: points of optimum above the adaptive charging algorithm", lead, PRACTICAL_POINTS))
    return cases, bars


def _field() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from acnportal import algorithms  # noqa: PLC0415
    return {
        "uncontrolled": algorithms.UncontrolledCharging(),
        "earliest deadline first": algorithms.SortedSchedulingAlgo(algorithms.earliest_deadline_first),
        "least laxity first": algorithms.SortedSchedulingAlgo(algorithms.least_laxity_first),
        "round robin": algorithms.RoundRobin(algorithms.first_come_first_served, continuous_inc=1),
    }


def _ours(worth: RestOfMonth | None, *, every: int | None = None) -> dict[str, Any]:
    from plugcast.simulate.acnportal import Plugcast  # noqa: PLC0415

    plain = {"ours, same knowledge": Plugcast(value_per_kwh=month.REVENUE_PER_KWH, max_recompute=every)}
    if worth is None:
        return plain
    known = worth

    def peak(at: datetime) -> tuple[float, tuple[tuple[float, float], ...]]:
        return CHARGE_PER_KW, known.outlook((at + timedelta(hours=-8)).date())

    return {
        **plain,
        "ours, with outlook": Plugcast(value_per_kwh=month.REVENUE_PER_KWH, peak=peak, max_recompute=every),
    }


def _case(
    scenario: str,
    name: str,
    algorithm: Algorithm,
    sessions: Sequence[Stay],
    size: _Size,
    *,
    best: float | None = None,
    cap_kw: float = CAP_KW,
    practical: bool = False,
    tariff: bool = True,
) -> dict[str, Any]:
    def work() -> dict[str, Any]:
        found = month.simulate(
            algorithm, sessions, cap_kw=cap_kw, practical=practical, tariff=tariff, start_at=size.start_at
        )
        return {key: float(value) for key, value in found.items()}

    through = ", CVXPY" if size.modelled else ""
    found = kept(size.keep, f"acn-{size.start_at:%m}-{size.last_day}-{scenario}-{name}{through}", work)
    if best is not None:
        # on the few days of the smallest size the demand charge may leave nothing to earn, and so no share of it
        share = 100.0 * found["profit"] / best if best > 0 else 0.0
        found = found | {"profit_pct": share, "perfect_foresight_profit": best}
    note(f"{scenario}, {name}: " + ", ".join(f"{key} {value:.5g}" for key, value in found.items()))
    return {"scenario": scenario, "algorithm": name, **found}


def _bar(name: str, value: float, limit: float) -> Bar:
    return Bar(name=name, value=value, limit=limit, sense="at_least")


def _over(cases: Sequence[dict[str, Any]]) -> float:
    return max(float(case["over_limit_a"]) for case in cases if case["algorithm"].startswith("ours"))


def _worth(last: date, days: int) -> RestOfMonth | None:
    """What a kW of peak was worth on the days before the month, sessions of which are in the data folder."""
    path = data_dir() / "acn_caltech_sessions.jsonl.gz"
    if not path.is_file():
        note(f"{path} is not there: nothing is known of earlier months")
        return None
    first = last - timedelta(days=days)
    by_day: dict[date, list[tuple[datetime, datetime, float]]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            begin = parsedate_to_datetime(row["connectionTime"])
            day = begin.astimezone(ZONE).date()
            if first <= day < last:
                end = parsedate_to_datetime(row["disconnectTime"])
                by_day.setdefault(day, []).append((begin, end, float(row["kWhDelivered"])))
    curves = {day: _curve(day, rows) for day, rows in by_day.items()}
    return RestOfMonth(LEVELS_KW, curves, CHARGE_PER_KW)


def _curve(day: date, rows: Sequence[tuple[datetime, datetime, float]]) -> FloatArray:
    """[L] from a local midnight on, in quarters of an hour over 36 hours."""
    start = datetime(day.year, day.month, day.day, tzinfo=ZONE).astimezone(UTC)
    needs = []
    for number, (begin, end, kwh) in enumerate(rows):
        leaves = min(end, begin + timedelta(minutes=month.PERIOD_MIN * month.MAX_STAY))
        hours = (leaves - begin).total_seconds() / 3600.0
        needs.append(
            VehicleNeed(
                session_id=str(number),
                station_id=str(number),
                arrival_at=begin,
                departure_at=leaves,
                energy_needed_kwh=min(kwh, month.IDEAL_KW * hours),
                max_power_kw=month.IDEAL_KW,
                value_per_kwh=month.REVENUE_PER_KWH,
            )
        )
    quarter = np.arange(144)
    weekday = np.array([(day + timedelta(days=int(days))).weekday() for days in quarter // 96])
    hour = quarter % 96 / 4.0
    price = np.select(
        [hour >= begin for begin, _ in reversed(WEEKDAY_PRICES)], [p for _, p in reversed(WEEKDAY_PRICES)]
    )
    window = site_window(
        start_at=start, price_per_kwh=np.where(weekday < WORKDAYS, price, WEEKEND_PRICE), limit_kw=np.inf
    )
    return cost_of_levels(build_problem(needs, window), LEVELS_KW)


PARTS: Final = {"speed": _speed, "month": _month, "congested": _congested, "practical": _practical}
BENCH = BenchSpec(
    name="acn",
    description=(__doc__ or "").partition("\n")[0],
    run=run,
    sizes=tuple(SIZES),
    default_size="month",
    parts=tuple(PARTS),
    run_chosen=run_chosen,
)
