"""Planning stage of a site: receding-horizon control beside charging on arrival, on the same cars."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from plugcast.domain.units import HORIZON_SLOTS, SLOT_MIN
from plugcast.features.online import micros
from plugcast.forecast import scores, stays
from plugcast.schedule.mpc import Policy, RecedingHorizon
from plugcast.schedule.problem import SiteWindow, site_window
from plugcast.schedule.tariff import prices_for
from plugcast.services.expectations import expect_all
from plugcast.simulate.pv import clear_sky_kw
from plugcast.simulate.site import Car, Expectation, run_closed_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plugcast.domain.site import Tariff
    from plugcast.services.period import Period
    from plugcast.simulate.site import LoopResult

STANDARD_RATINGS_KW: Final = (3.7, 6.66, 7.4, 11.0, 22.0, 50.0, 150.0, 350.0, 1_500.0)
FASTER_THAN_SITE: Final = 1.15
"""A station that delivered this much more than the site's rating has a rating of its own (a DC charger)."""
TELLING_STAY_H: Final = (0.5, 2.0)
"""Of a shorter stay the times are too coarse to divide by; in a longer one the car was full long before it left."""
RECORDS_TO_TRUST: Final = 3
CAUTIOUS_STAY: Final = stays.LEVELS.index(0.1)
CAUTIOUS_ENERGY: Final = stays.LEVELS.index(0.75)
"""Plans trust that nine cars in ten stay longer, and that three in four need less, than planned for."""
MEDIAN: Final = stays.LEVELS.index(0.5)
UNKNOWN_STAY_H: Final = 4.0
UNKNOWN_ENERGY_KWH: Final = 10.0
LIMIT_SHARE: Final = 0.6
"""Default limit: this share of what charging on arrival drew at its peak before the replay."""
LIMIT_STEP_KW: Final = 5.0
SLOT_US: Final = SLOT_MIN * 60_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteTerms:
    """What the site has to live with; ``limit_kw`` None takes a share of its own past peak."""

    tariff: Tariff
    limit_kw: float | None = None
    pv_peak_kw: float = 0.0
    latitude: float = 34.1
    longitude: float = -118.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Steered:
    """The replay under the plan and uncontrolled; N cars, S slots."""

    window: SiteWindow
    cars: tuple[Car, ...]
    expected: tuple[Expectation, ...]
    """Medians at plug-in, as shown to people; the plan itself goes by the cautious quantiles."""
    plan: LoopResult
    uncontrolled: LoopResult
    ahead_kw: np.ndarray
    """[S, HORIZON_SLOTS] what the plan of each slot meant to draw from then on; NaN beyond."""
    rating_kw: dict[str, float]
    metrics: dict[str, Any]


def steer(
    sessions: pl.DataFrame,
    period: Period,
    time_zone: str,
    terms: SiteTerms,
    *,
    user_inputs: pl.DataFrame | None = None,
    on_slot: Callable[[int], None] | None = None,
) -> Steered:
    """Run the replay twice: planned from what was known at each slot, and at full power on arrival.

    Args:
        sessions: ``schemas.SESSIONS``; those that arrive in the replay are driven.
        period: What is learnt from and what is replayed.
        time_zone: The site's.
        terms: Tariff, limit, PV.
        user_inputs: ``schemas.USER_INPUTS``: what drivers declared, and who they are.
        on_slot: Told the slot after each step of the planned run.
    """
    rating = ratings(sessions.filter(pl.col("available_at") < period.cut_at))
    cars = _cars(sessions, period.cut_at, period.end_at, rating)
    window = _window(sessions, period, time_zone, terms, rating)
    past = stays.Visits.of(sessions, time_zone, {})
    made = expect_all(
        sessions, [car.session_id for car in cars], cut_at=period.cut_at, time_zone=time_zone, user_inputs=user_inputs
    )
    forecasts = made.forecasts
    expected = {
        car.session_id: _expectation(car, forecasts[car.session_id], CAUTIOUS_STAY, CAUTIOUS_ENERGY) for car in cars
    }
    ahead = np.full((period.replay_slots, HORIZON_SLOTS), np.nan)

    def remember(slot: int, planned_kw: np.ndarray) -> None:
        ahead[slot, : len(planned_kw)] = planned_kw
        if on_slot is not None:
            on_slot(slot)

    plan = run_closed_loop(
        cars,
        lambda car, _now: expected[car.session_id],
        window,
        RecedingHorizon(policy=Policy.LP),
        slots=period.replay_slots,
        on_plan=remember,
    )
    uncontrolled = charge_on_arrival(cars, window, slots=period.replay_slots)
    return Steered(
        window=window,
        cars=tuple(cars),
        expected=tuple(_expectation(car, forecasts[car.session_id], MEDIAN, MEDIAN) for car in cars),
        plan=plan,
        uncontrolled=uncontrolled,
        ahead_kw=ahead,
        rating_kw=rating,
        metrics={
            "plan": _outcome(plan),
            "uncontrolled": _outcome(uncontrolled),
            "cars": len(cars),
            "limit_kw": float(window.limit_kw[0]),
            "saved_per_kwh_share": _saved(plan, uncontrolled),
            "stays": _stay_scores(cars, forecasts, past, period),
            "stay_model": made.method,
            "plan_cpu_ms_per_step": float(plan.cpu_s.mean() * 1000),
        },
    )


def ratings(sessions: pl.DataFrame) -> dict[str, float]:
    """Most that each station was seen to deliver, as the next standard rating; the site's own for ordinary ones.

    Rests on stays short enough for their mean power to say something; the third highest, for one record may be wrong.
    """
    hours = (pl.coalesce("done_charging_at", "departure_at") - pl.col("arrival_at")).dt.total_seconds() / 3600
    seen = (
        sessions.with_columns(hours.alias("_h"))
        .filter(pl.col("_h").is_between(*TELLING_STAY_H) & pl.col("energy_delivered_kwh").is_not_null())
        .with_columns((pl.col("energy_delivered_kwh") / pl.col("_h")).alias("_kw"))
    )
    common = seen["_kw"].quantile(0.98) if seen.height else None
    site_kw = _standard(STANDARD_RATINGS_KW[1] if common is None else common)
    third = (
        seen.group_by("station_id")
        .agg(pl.col("_kw").top_k(RECORDS_TO_TRUST).min(), pl.len())
        .filter(pl.col("len") >= RECORDS_TO_TRUST)
    )
    own = {station: kw for station, kw, _ in third.iter_rows() if kw > site_kw * FASTER_THAN_SITE}
    stations = sessions["station_id"].unique().to_list()
    return {station: _standard(own[station]) if station in own else site_kw for station in stations} | {"": site_kw}


def _standard(kw: float) -> float:
    return next(rating for rating in STANDARD_RATINGS_KW if rating >= min(kw / 1.02, STANDARD_RATINGS_KW[-1]))


def _cars(sessions: pl.DataFrame, start_at: datetime, end_at: datetime, rating: dict[str, float]) -> list[Car]:
    """Sessions that arrive in the span and took energy; one still running leaves at its end."""
    chosen = sessions.filter(
        (pl.col("arrival_at") >= start_at) & (pl.col("arrival_at") < end_at) & (pl.col("energy_delivered_kwh") > 0)
    ).sort("arrival_at", "session_id")
    return [
        Car(
            session_id=row["session_id"],
            station_id=row["station_id"],
            arrival_at=row["arrival_at"],
            departure_at=row["departure_at"] or end_at,
            energy_kwh=row["energy_delivered_kwh"],
            max_power_kw=rating.get(row["station_id"], rating[""]),
        )
        for row in chosen.iter_rows(named=True)
    ]


def _expectation(car: Car, forecast: stays.StayForecast, stay_level: int, energy_level: int) -> Expectation:
    stay, energy = float(forecast.stay_h[stay_level]), float(forecast.energy_kwh[energy_level])
    return Expectation(
        departure_at=car.arrival_at + timedelta(hours=UNKNOWN_STAY_H if np.isnan(stay) else max(stay, 0.25)),
        energy_kwh=UNKNOWN_ENERGY_KWH if np.isnan(energy) else energy,
    )


def _window(
    sessions: pl.DataFrame, period: Period, time_zone: str, terms: SiteTerms, rating: dict[str, float]
) -> SiteWindow:
    slots = period.replay_slots + HORIZON_SLOTS
    price, demand_charge = prices_for(terms.tariff, period.cut_at, slots, SLOT_MIN)
    at_us = micros(period.cut_at) + np.arange(slots) * SLOT_US
    window = site_window(
        start_at=period.cut_at,
        price_per_kwh=price,
        limit_kw=terms.limit_kw or np.inf,
        pv_kw=clear_sky_kw(at_us, peak_kw=terms.pv_peak_kw, latitude=terms.latitude, longitude=terms.longitude),
        feed_in_per_kwh=terms.tariff.feed_in_per_kwh,
        demand_charge_per_kw=demand_charge,
        time_zone=time_zone,
    )
    if terms.limit_kw is not None:
        return window
    return replace(window, limit_kw=np.full(slots, _default_limit(sessions, period, time_zone, rating)))


def _default_limit(sessions: pl.DataFrame, period: Period, time_zone: str, rating: dict[str, float]) -> float:
    """A share of the peak that charging on arrival drew in the last weeks before the cut."""
    start = max(period.start_at, period.cut_at - timedelta(days=28))
    slots = int((period.cut_at - start) / timedelta(minutes=SLOT_MIN))
    cars = _cars(sessions, start, period.cut_at, rating)
    free = site_window(start_at=start, price_per_kwh=np.zeros(slots), limit_kw=np.inf, time_zone=time_zone)
    peak = float(charge_on_arrival(cars, free).total_power_kw.max(initial=0.0))
    return max(LIMIT_STEP_KW, round(peak * LIMIT_SHARE / LIMIT_STEP_KW) * LIMIT_STEP_KW)


def charge_on_arrival(cars: Sequence[Car], window: SiteWindow, *, slots: int | None = None) -> LoopResult:
    """Every car at full power from its plug-in until it is done or gone: what happens where nobody steers."""
    truth = {car.session_id: Expectation(departure_at=car.departure_at, energy_kwh=car.energy_kwh) for car in cars}
    unsteered = RecedingHorizon(policy=Policy.UNCONTROLLED)
    return run_closed_loop(cars, lambda car, _now: truth[car.session_id], window, unsteered, slots=slots)


def _saved(plan: LoopResult, uncontrolled: LoopResult) -> float:
    """Share of the bill per kWh delivered that the plan saves; both runs rarely deliver the same energy."""
    (one, first), (other, second) = ((run.cost.total, run.delivered_kwh.sum()) for run in (plan, uncontrolled))
    return float(1 - (one / first) / (other / second)) if first > 0 and second > 0 and other > 0 else 0.0


def _outcome(run: LoopResult) -> dict[str, float]:
    return {
        "cost": run.cost.total,
        "energy_cost": run.cost.energy_cost,
        "demand_cost": run.cost.demand_cost,
        "peak_kw": float(np.maximum(run.grid_import_kw, 0).max(initial=0.0)),
        "delivered_kwh": float(run.delivered_kwh.sum()),
        "unmet_kwh": float(run.unmet_kwh.sum()),
        "unavoidable_kwh": float(run.unavoidable_kwh.sum()),
        "slots_over_limit": float(run.violation_slots),
    }


def _stay_scores(
    cars: list[Car], forecasts: Mapping[str, stays.StayForecast], past: stays.Visits, period: Period
) -> dict[str, float]:
    """Median forecasts at plug-in beside the median of all earlier visits."""
    asked = [car for car in cars if forecasts[car.session_id].comparable]
    known = past.known_us < micros(period.cut_at)
    if not asked or not known.any():
        return {}
    stay = np.array([(car.departure_at - car.arrival_at) / timedelta(hours=1) for car in asked])
    energy = np.array([car.energy_kwh for car in asked])
    usual = (float(np.median(past.stay_h[known])), float(np.median(past.energy_kwh[known])))
    return {
        "cars": len(asked),
        "stay_mae_h": scores.mae(np.array([forecasts[car.session_id].stay_h[MEDIAN] for car in asked]), stay),
        "stay_mae_h_pooled_median": scores.mae(np.full(len(asked), usual[0]), stay),
        "energy_mae_kwh": scores.mae(np.array([forecasts[car.session_id].energy_kwh[MEDIAN] for car in asked]), energy),
        "energy_mae_kwh_pooled_median": scores.mae(np.full(len(asked), usual[1]), energy),
    }
