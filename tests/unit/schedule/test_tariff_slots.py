from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugcast.adapters.prices import builtin_tariff
from plugcast.domain.site import Tariff, TariffPeriod, TariffSeason
from plugcast.errors import PlanInputError
from plugcast.schedule.tariff import prices_for, season_on

LA = ZoneInfo("America/Los_Angeles")
SCE = builtin_tariff()


def _by_hand(instant: datetime) -> float:
    """The sheet's facts as one reads them."""
    local = instant.astimezone(LA)
    summer = 6 <= local.month <= 9
    if local.weekday() >= 5:
        return 0.05623 if summer else 0.06087
    low, middle, high = (0.05623, 0.0925, 0.26668) if summer else (0.06087, 0.07492, 0.0869)
    if local.hour < 8 or local.hour >= 23:
        return low
    return high if 12 <= local.hour < 18 else middle


@settings(max_examples=40)
@given(hour=st.integers(0, 8760), slot_min=st.sampled_from([5, 15, 30, 60]))
def test_every_slot_of_the_year_has_the_price_of_its_local_hour(hour: int, slot_min: int) -> None:
    start = datetime(2019, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
    price, charge = prices_for(SCE, start, 40, slot_min)
    assert price.tolist() == [_by_hand(start + timedelta(minutes=slot_min * slot)) for slot in range(40)]
    assert charge == 15.51


def test_the_day_that_summer_time_begins_has_23_hours_and_skips_one() -> None:
    # every local hour has a price of its own, so that a skipped or repeated hour shows
    tariff = _hourly(tuple(range(7)))
    price, _ = prices_for(tariff, datetime(2019, 3, 10, tzinfo=LA), 24, 60)
    assert price.tolist() == [0, 1, *range(3, 24), 0]


def test_the_day_that_summer_time_ends_has_25_hours_and_repeats_one() -> None:
    price, _ = prices_for(_hourly(tuple(range(7))), datetime(2019, 11, 3, tzinfo=LA), 25, 60)
    assert price.tolist() == [0, 1, 1, *range(2, 24)]


def _hourly(days: tuple[int, ...]) -> Tariff:
    periods = tuple(TariffPeriod(from_hour=float(hour), price_per_kwh=float(hour)) for hour in range(24))
    season = TariffSeason(name="all", starts_on="01-01", ends_on="12-31", days=days, periods=periods)
    return Tariff(name="hours", time_zone="America/Los_Angeles", seasons=(season,))


@pytest.mark.parametrize(
    ("day", "name"),
    [
        (date(2019, 5, 31), "Winter-Weekday"),
        (date(2019, 6, 3), "Summer-Weekday"),
        (date(2019, 9, 30), "Summer-Weekday"),
        (date(2019, 10, 1), "Winter-Weekday"),
        (date(2020, 2, 29), "Winter-Weekend"),
        (date(2019, 12, 31), "Winter-Weekday"),
        (date(2020, 1, 1), "Winter-Weekday"),
        (date(2019, 7, 6), "Summer-Weekend"),
    ],
)
def test_seasons_wrap_the_turn_of_the_year(day: date, name: str) -> None:
    assert season_on(SCE, day).name == name


def test_a_slot_that_a_price_change_divides_has_the_mean_of_its_minutes() -> None:
    season = TariffSeason(
        name="all",
        starts_on="01-01",
        ends_on="12-31",
        days=tuple(range(7)),
        periods=(TariffPeriod(from_hour=0.0, price_per_kwh=1.0), TariffPeriod(from_hour=8.5, price_per_kwh=3.0)),
    )
    price, _ = prices_for(
        Tariff(name="t", time_zone="UTC", seasons=(season,)), datetime(2024, 1, 1, 8, tzinfo=UTC), 2, 60
    )
    assert price.tolist() == [2.0, 3.0]


def test_before_the_first_change_of_the_day_the_last_price_holds() -> None:
    season = TariffSeason(
        name="all",
        starts_on="01-01",
        ends_on="12-31",
        days=tuple(range(7)),
        periods=(TariffPeriod(from_hour=6.0, price_per_kwh=1.0), TariffPeriod(from_hour=22.0, price_per_kwh=9.0)),
    )
    price, _ = prices_for(
        Tariff(name="t", time_zone="UTC", seasons=(season,)), datetime(2024, 1, 1, 5, tzinfo=UTC), 2, 60
    )
    assert price.tolist() == [9.0, 1.0]


def test_a_day_without_prices_is_named() -> None:
    with pytest.raises(PlanInputError, match="Saturday 2019-07-06"):
        prices_for(_hourly((0, 1, 2, 3, 4)), datetime(2019, 7, 5, tzinfo=LA), 48, 60)
