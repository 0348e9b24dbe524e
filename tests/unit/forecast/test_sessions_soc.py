from __future__ import annotations

from dataclasses import replace

import numpy as np

from plugcast.forecast.sessions_soc import ChargeVisits, EnergyToFull, charge_features, climatology

HOUR_US = 3_600_000_000


def visits(count: int = 400, seed: int = 0) -> ChargeVisits:
    """Cars that come with less charge leave with less: climatology cannot know."""
    rng = np.random.default_rng(seed)
    arrival = np.sort(rng.integers(0, 100 * 24, count)) * HOUR_US
    start = rng.uniform(5, 80, count)
    return ChargeVisits(
        arrival_us=arrival,
        known_us=arrival + rng.integers(1, 6, count) * HOUR_US // 4,
        station=rng.integers(1, 3, count),
        start_soc=start,
        end_soc=np.clip(start * 0.3 + 65 + rng.normal(0, 3, count), start, 100),
        capacity_kwh=np.full(count, np.nan),
    )


def test_it_beats_no_charge_and_the_usual_charge() -> None:
    known = visits()
    matrix, truth = charge_features(known, "UTC"), 100 - known.end_soc
    cut = int(known.arrival_us[280])
    late = known.arrival_us >= cut
    error = np.abs(EnergyToFull.fit(known, matrix, cut).predict(matrix[late]) - truth[late]).mean()
    assert error < 0.8 * np.abs(climatology(known) - truth)[late].mean()
    assert error < 0.2 * np.abs(100 - known.start_soc - truth)[late].mean()


def test_later_visits_move_neither_features_nor_model() -> None:
    known = visits(seed=1)
    cut = int(known.arrival_us[280])
    other = replace(known, end_soc=np.where(known.known_us >= cut, 100.0, known.end_soc))
    one, two = charge_features(known, "UTC"), charge_features(other, "UTC")
    early = known.arrival_us <= cut
    np.testing.assert_array_equal(one[early], two[early])
    assert not np.array_equal(one, two, equal_nan=True)
    ask = one[early][-20:]
    np.testing.assert_array_equal(
        EnergyToFull.fit(known, one, cut).predict(ask), EnergyToFull.fit(other, two, cut).predict(ask)
    )


def test_never_more_than_was_missing_at_plug_in() -> None:
    known = visits(seed=2)
    matrix = charge_features(known, "UTC")
    need = EnergyToFull.fit(known, matrix, int(known.arrival_us[-1])).predict(matrix)
    assert (need >= 0).all()
    assert (need <= 100 - matrix[:, 0] + 1e-4).all()
