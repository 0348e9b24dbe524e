"""Real sessions steered in closed loop: what trusting drivers costs, what our forecasts give, what foresight would.

Sessions of Caltech and JPL (autumn 2019) under Dutch day-ahead prices of the same days and the array at JPL, 15-minute
steps. Nobody sees a car before it plugs in, a price before it is published or the sun before it shines; session models
are trained on what was complete before the test, corrected by what has become known since.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from benches import data_folder, session_sets
from benches.closed_loop_world import Known, World, quantiles, world
from benches.kept import kept
from benches.registry import Bar, BenchSpec, Choice, Outcome, note

from plugcast.schedule.extensive import Stages
from plugcast.schedule.mpc import Policy, RecedingHorizon
from plugcast.simulate.cars import CarBattery, pilots
from plugcast.simulate.risk import InDoubt
from plugcast.simulate.site import run_closed_loop
from plugcast.simulate.verdict import Optimum, perfect_foresight, verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benches.session_sets import Site

    from plugcast.schedule.arrays import FloatArray
    from plugcast.simulate.cars import Forecaster
    from plugcast.simulate.site import LoopResult, SiteController

TEST_FROM: Final = datetime(2019, 9, 2, 7, tzinfo=UTC)
"""Monday, midnight in Los Angeles."""
LIMIT_SHARE: Final = 0.6
"""The limit: this share of what charging on arrival drew at its peak in the two weeks before the test."""
LIMIT_STEP_KW: Final = 5.0
SCENARIOS: Final = 10
VALUES: Final = (0.06, 0.0675, 0.075, 0.0825, 0.09, 0.1, 0.11, 0.135, 0.165, 0.2)
"""What a missed kWh may be worth; 0.06 is one and a half times the mean price."""
LEVELS: Final = (0.75, 0.9)
"""Quantiles of energy that may be provided for."""
CHOOSING: Final = 2
"""Fortnights before the test: the pair of value and level is taken that left least unmet there, of those that cost no
more than is promised for the test."""
SHARED: Final = Stages(shared_slots=48)
"""What is planned for the next twelve hours is alike in all scenarios: nobody says in advance when he will leave."""
STEPS_KW: Final = pilots((8, 16, 24, 32), voltage_v=208.0)
LESS_UNMET: Final = 0.30
DEARER: Final = 0.02
SITES: Final = ("caltech", "jpl")
CAREFUL: Final = ("risk-aware MPC", "stochastic MPC")


def run(size: str) -> Outcome:
    """Both sites for two weeks."""
    return run_chosen(size, Choice())


def run_chosen(size: str, choice: Choice) -> Outcome:
    """Some sites; small is two days of Caltech without choosing, ``risk`` leaves scenarios out."""
    small = size == "small"
    if small and not data_folder.data_dir().is_dir():
        return Outcome(
            data=f"none: {data_folder.data_dir()} is no folder; set PLUGCAST_DATA to the data sets", cases=[]
        )
    wanted = [name for name in (SITES[:1] if small else choice.parts or SITES) if name in SITES]
    told = cache(partial(_told, small=small))  # made only where a result is not kept
    found = [kept(choice.keep, f"closed-loop-{name}-{size}", partial(_site, name, told, size)) for name in wanted]
    about = (
        "ACN-Data sessions of Caltech and JPL, September 2019; Dutch day-ahead prices of 2019 on California's clock, "
        "EUR; modelled array at JPL, scaled to 60 and 110 kW; feed-in at half the price. Cost: the bill less that "
        "without cars. Unmet: missed at departure that charging on arrival without a limit delivers. Regret: cost of a "
        "kWh above one programme that knows all."
    )
    cases = [case for site in found for case in site["cases"]]
    by_site = [{str(case["controller"]): case for case in site["cases"]} for site in found]
    bars = [] if small else [bar for name, by in zip(wanted, by_site, strict=True) for bar in _bars(name, by)]
    return Outcome(data=about, cases=cases, bars=bars)


def _told(*, small: bool) -> dict[str, tuple[Site, dict[str, FloatArray]]]:
    """Each site with what was forecast of its sessions."""
    warm = 7 if small else 14
    sites = [session_sets.caltech()] if small else [session_sets.caltech(), session_sets.jpl()]
    note("session forecasts")
    begin = TEST_FROM - timedelta(days=warm)
    refits = [begin] if small else [begin - timedelta(days=49), begin, TEST_FROM]
    until = TEST_FROM + timedelta(days=2 if small else 14)
    return {
        site.name: (site, found)
        for site, found in zip(sites, quantiles(sites, refits, until, small=small), strict=True)
    }


def _site(name: str, told: Callable[[], dict[str, tuple[Site, dict[str, FloatArray]]]], size: str) -> dict[str, Any]:
    """Every controller at one site, its settings chosen before the test."""
    small = size == "small"
    days, warm = (2, 7) if small else (14, 14)
    site, found = told()[name]
    limit_kw = _limit(world(site, found, TEST_FROM - timedelta(days=warm), warm))
    here = world(site, found, TEST_FROM, days, limit_kw=limit_kw)
    past = [
        world(site, found, TEST_FROM - timedelta(days=warm * back), warm, limit_kw=limit_kw)
        for back in range(1, CHOOSING + 1)
        if not small
    ]
    cares = _chosen(past, careful=CAREFUL[:1] if size == "risk" else CAREFUL)
    return {"cases": _driven(here, cares, small=small)}


def _limit(before: World) -> float:
    free = run_closed_loop(
        before.cars, before.as_it_is, before.window, RecedingHorizon(policy=Policy.UNCONTROLLED), slots=before.slots
    )
    peak = float(free.total_power_kw.max(initial=0.0))
    return max(LIMIT_STEP_KW, round(peak * LIMIT_SHARE / LIMIT_STEP_KW) * LIMIT_STEP_KW)


@dataclass(frozen=True, slots=True)
class _Care:
    """How careful a controller is: these fields of ``InDoubt``."""

    value_per_kwh: float = VALUES[0]
    energy_level: float = LEVELS[0]


def _doubtful(cares: dict[str, _Care]) -> dict[str, InDoubt]:
    """Controllers that weigh what may happen, by name."""
    averse = RecedingHorizon(stages=replace(SHARED, cvar_weight=0.5, cvar_level=0.8))
    neutral = RecedingHorizon(stages=SHARED)
    made = {
        "risk-aware MPC": InDoubt(),
        "stochastic MPC": InDoubt(horizon=neutral, scenarios=SCENARIOS),
        "stochastic MPC, CVaR": InDoubt(horizon=averse, scenarios=SCENARIOS),
    }
    return {name: replace(made[name], **asdict(care)) for name, care in cares.items()}


def _chosen(past: Sequence[World], *, careful: Sequence[str]) -> dict[str, _Care]:
    """How careful each controller is to be, by what it came to before the test alone."""
    if not past:
        return {"risk-aware MPC": _Care()}

    def came_to(controller: RecedingHorizon | SiteController, *, trusting: bool = False) -> tuple[float, float]:
        bill = unmet = 0.0
        for before in past:
            run_ = run_closed_loop(
                before.cars,
                before.as_declared if trusting else before.as_forecast,
                before.window,
                controller,
                slots=before.slots,
                known=Known(before.name, before.window),
            )
            found = verdict(run_, before.window)
            bill, unmet = bill + found.cost, unmet + found.unmet_kwh
        return bill, unmet

    trust, left = came_to(RecedingHorizon(), trusting=True)
    chosen = {}
    for name in careful:
        chosen[name], least = _Care(), math.inf
        for level in LEVELS:
            for value in VALUES:
                care = _Care(value, level)
                bill, unmet = came_to(_doubtful({name: care})[name])
                note(
                    f"  {past[0].name}, {name}, {level:.0%} of energy, a missed kWh worth {value:g}: before the test "
                    f"{bill / trust - 1:+.2%} of the bill, {unmet / left - 1:+.1%} unmet"
                )
                if bill / trust - 1 > DEARER:
                    break
                if unmet < least:
                    chosen[name], least = care, unmet
    if "stochastic MPC" in chosen:
        chosen["stochastic MPC, CVaR"] = chosen["stochastic MPC"]
    return chosen


def _ways(
    here: World, cares: dict[str, _Care], *, small: bool
) -> dict[str, tuple[RecedingHorizon | SiteController, Forecaster]]:
    """Every controller with what it believes."""
    lp = RecedingHorizon()
    ways: dict[str, tuple[RecedingHorizon | SiteController, Forecaster]] = {
        "EDF, declared": (RecedingHorizon(policy=Policy.EDF), here.as_declared),
        "LLF, declared": (RecedingHorizon(policy=Policy.LLF), here.as_declared),
        "MPC, declared": (lp, here.as_declared),
        "MPC, perfect forecast of each car": (lp, here.as_it_is),
        "risk-aware MPC": (_doubtful(cares)["risk-aware MPC"], here.as_forecast),
    }
    if small:
        return ways
    careful: dict[str, InDoubt] = _doubtful(cares)
    ways |= {
        "MPC, declared departure, forecast energy": (lp, here.half_declared),
        "MPC, median forecasts": (lp, here.as_forecast),
    }
    ways |= {name: (controller, here.as_forecast) for name, controller in careful.items() if name not in ways}
    return ways


def _driven(here: World, cares: dict[str, _Care], *, small: bool) -> list[dict[str, Any]]:
    known = Known(here.name, here.window)
    best = perfect_foresight(here.cars, here.window, here.slots)
    free = run_closed_loop(
        here.cars, here.as_it_is, here.window, RecedingHorizon(policy=Policy.UNCONTROLLED), slots=here.slots
    )
    about = {
        "site": here.name,
        "cars": len(here.cars),
        "limit_kw": float(here.window.limit_kw[0]),
        "declared_share": here.told,
        "mean_price_per_kwh": float(here.window.price_per_kwh[: here.slots].mean()),
    }
    cases = [about | {"controller": "uncontrolled"} | _figures(free, here, free, best)]
    for name, (controller, told) in _ways(here, cares, small=small).items():
        run_ = run_closed_loop(here.cars, told, here.window, controller, slots=here.slots, known=known)
        care = {} if name not in cares else asdict(cares[name])
        cases.append(about | {"controller": name} | care | _figures(run_, here, free, best))
        note(f"  {here.name}, {name}: unmet {cases[-1]['unmet_kwh']:.1f} kWh, cost {cases[-1]['cost']:.2f}")
    if "stochastic MPC" in cares:
        cases += _real_hardware(here, known, best, about, cares["risk-aware MPC"])
    return cases


def _real_hardware(
    here: World, known: Known, best: Optimum, about: dict[str, Any], care: _Care
) -> list[dict[str, Any]]:
    """The same cars with batteries that taper, at stations that know four currents."""
    cars = [
        replace(
            car,
            battery=CarBattery.filled_by(car.energy_kwh),
            pilots_kw=STEPS_KW,
            min_power_kw=STEPS_KW[0],
        )
        for car in here.cars
    ]
    part = " with tapering batteries and four currents"
    whole = RecedingHorizon(policy=Policy.WHOLE)
    free = run_closed_loop(
        cars, here.as_it_is, here.window, RecedingHorizon(policy=Policy.UNCONTROLLED), slots=here.slots
    )
    made = []
    ways: dict[str, tuple[RecedingHorizon | SiteController, Forecaster]] = {
        "MPC, declared": (whole, here.as_declared),
        "risk-aware MPC": (InDoubt(horizon=whole, **asdict(care)), here.as_forecast),
    }
    for name, (controller, told) in ways.items():
        run_ = run_closed_loop(cars, told, here.window, controller, slots=here.slots, known=known)
        made.append(about | {"controller": name + part} | _figures(run_, here, free, best))
        note(f"  {here.name}, {name}{part}: unmet {made[-1]['unmet_kwh']:.1f} kWh, cost {made[-1]['cost']:.2f}")
    return made


def _figures(run_: LoopResult, here: World, free: LoopResult, best: Optimum) -> dict[str, Any]:
    return asdict(verdict(run_, here.window, on_arrival=free, optimum=best))


def _bars(site: str, by: dict[str, dict[str, Any]]) -> list[Bar]:
    """Against trusting what drivers declare."""
    trusting, bars = by["MPC, declared"], []
    for name in (name for name in CAREFUL if name in by):
        case = by[name]
        bars += [
            Bar(
                name=f"{site}, {name}: unmet energy below that of trusting declarations",
                value=1.0 - case["unmet_kwh"] / trusting["unmet_kwh"],
                limit=LESS_UNMET,
                sense="at_least",
            ),
            Bar(
                name=f"{site}, {name}: cost of a delivered kWh above the same",
                value=case["cost_per_kwh"] / trusting["cost_per_kwh"] - 1.0,
                limit=DEARER,
                sense="at_most",
            ),
            Bar(
                name=f"{site}, {name}: whole bill above the same, more energy delivered included",
                value=case["cost"] / trusting["cost"] - 1.0,
                limit=DEARER,
                sense="at_most",
            ),
            Bar(name=f"{site}, {name}: slots above the limit", value=case["violation_slots"], limit=0, sense="at_most"),
        ]
    return bars


BENCH = BenchSpec(
    name="closed_loop",
    description="Real sessions steered in doubt, beside declarations and perfect foresight",
    run=run,
    sizes=("small", "risk", "full"),
    parts=SITES,
    run_chosen=run_chosen,
)
