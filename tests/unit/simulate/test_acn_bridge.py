"""Inside the real simulator: our controller, its translation, and what it must never do."""

from __future__ import annotations

import warnings
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from plugcast.errors import PlanInputError
from plugcast.simulate.acn_translate import lowered, pilots_of, site_of

pytest.importorskip("acnportal")
from plugcast.simulate.acnportal import Plugcast

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from acnportal import acnsim, algorithms
    from acnportal.acnsim.interface import Interface
    from acnportal.signals.tariffs import TimeOfUseTariff

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
START_AT = datetime(2019, 3, 4, tzinfo=timezone(timedelta(hours=-8)))
STATIONS = ("CA-148", "CA-212", "CA-307", "CA-322", "CA-324", "CA-303")


def _simulate(
    algorithm: Any,
    *,
    seed: int = 0,
    cap_kw: float = 150.0,
    practical: bool = False,
    tariff: bool = True,
    period: float = 5,
) -> Any:
    draw = np.random.default_rng(seed)
    events = []
    for number, station in enumerate(STATIONS):
        arrival = int(draw.integers(96, 120))
        stay, kwh = int(draw.integers(24, 90)), float(draw.uniform(2, 12))
        battery = acnsim.Linear2StageBattery(60.0, 60.0 - kwh, 6.656) if practical else acnsim.Battery(kwh, 0.0, 6.6)
        ev = acnsim.EV(arrival, arrival + stay, kwh, station, f"car-{number}", battery)
        events.append(acnsim.PluginEvent(arrival, ev))
    network = acnsim.sites.caltech_acn(basic_evse=not practical, voltage=208, transformer_cap=cap_kw)
    signals = {"tariff": TimeOfUseTariff("sce_tou_ev_4_march_2019")} if tariff else {}
    sim = acnsim.Simulator(
        network, algorithm, acnsim.EventQueue(events), START_AT, period=period, signals=signals, verbose=False
    )
    sim.run()  # an impossible pilot raises, and a broken limit warns: both fail the test
    return sim


def _site(*, basic: bool = False) -> Any:
    network = acnsim.sites.caltech_acn(basic_evse=basic, voltage=208, transformer_cap=150)
    sim = acnsim.Simulator(network, None, acnsim.EventQueue([]), START_AT, period=5, verbose=False)
    return network, site_of(Interface(sim).infrastructure_info())


def test_limits_are_the_simulators_own() -> None:
    network, site = _site(basic=True)
    power = np.random.default_rng(1).uniform(0, 6.6, size=(len(site.station_ids), 5))
    theirs = np.abs(network.constraint_current(power * 1000.0 / 208.0))
    assert site.network is not None
    np.testing.assert_allclose(site.network.load(site.station_ids, power), theirs, rtol=1e-9)


def test_what_is_offered_is_a_current_of_the_station_and_no_less_than_the_power() -> None:
    _, site = _site()
    stations = ("CA-322", "CA-148")
    power = np.array([[0.0, 2.0, 6.656], [0.0, 1.3, 3.5]])
    amperes = pilots_of(site, stations, power)
    np.testing.assert_array_equal(amperes, [[0, 16, 32], [0, 7, 17]])


@pytest.mark.parametrize("seed", range(5))
def test_lowered_currents_keep_the_limits_and_exist(seed: int) -> None:
    network, site = _site()
    draw = np.random.default_rng(seed)
    wanted = np.array([draw.choice(pilots) for pilots in site.pilots_a if pilots is not None])
    found = lowered(site, site.station_ids, wanted)
    assert np.all(found <= wanted)
    assert network.is_feasible(found[:, None])
    assert all(np.isin(one, pilots) for one, pilots in zip(found, site.pilots_a, strict=True) if pilots is not None)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_all_needs_are_met_where_they_can_be_and_for_less(seed: int) -> None:
    ours = _simulate(Plugcast(), seed=seed)
    field = _simulate(algorithms.SortedSchedulingAlgo(algorithms.earliest_deadline_first), seed=seed)
    assert acnsim.proportion_of_energy_delivered(ours) > 0.985
    assert ours.peak < field.peak


def test_a_cars_own_maximum_is_learnt_from_its_answers() -> None:
    algorithm = Plugcast(value_per_kwh=1.0, waiting_price_per_kwh_h=0.1, max_recompute=1)
    _simulate(algorithm, tariff=False)
    learnt = [algorithm.controller.response(session).most_kw(6.656) for session in algorithm.controller._responses]
    assert learnt
    assert all(power == pytest.approx(6.6, abs=1e-6) for power in learnt)


def test_finite_pilots_and_tapering_batteries_get_nearly_all_that_goes_in() -> None:
    algorithm = Plugcast(value_per_kwh=0.3, max_recompute=1)
    sim = _simulate(algorithm, practical=True, tariff=False)
    most = _simulate(algorithms.UncontrolledCharging(), practical=True, tariff=False)
    assert acnsim.total_energy_delivered(sim) > 0.97 * acnsim.total_energy_delivered(most)


def test_finite_pilots_need_a_plan_every_period() -> None:
    with pytest.raises(PlanInputError, match="wanted 1"):
        _simulate(Plugcast(), practical=True)


@pytest.mark.parametrize("period", [0.5, 7.5])
def test_periods_that_are_no_whole_minutes_are_refused(period: float) -> None:
    with pytest.raises(PlanInputError, match="wanted a whole number"):
        _simulate(Plugcast(), tariff=False, period=period)


def test_a_peak_that_comes_anyway_is_used() -> None:
    dear = _simulate(Plugcast(value_per_kwh=0.3, peak=lambda _: (15.51, ())))
    free = _simulate(Plugcast(value_per_kwh=0.3, peak=lambda _: (15.51, ((20.0, 1.0),))))
    assert acnsim.total_energy_delivered(dear) < 1.0  # one day does not pay for a month's peak
    assert acnsim.proportion_of_energy_delivered(free) > 0.985


def test_a_tight_transformer_is_never_overloaded() -> None:
    sim = _simulate(Plugcast(waiting_price_per_kwh_h=0.01), cap_kw=8.0, tariff=False)
    over = np.abs(sim.network.constraint_current(sim.charging_rates)) - sim.network.magnitudes[:, None]
    assert over.max() <= 1e-6
