"""A tariff laid over slots: seasons, day types and hours in the site's local time, summer time included."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from plugcast.errors import PlanInputError

if TYPE_CHECKING:
    from plugcast.domain.site import Tariff, TariffSeason
    from plugcast.schedule.problem import FloatArray


def prices_for(tariff: Tariff, start_at: datetime, slots: int, slot_min: int) -> tuple[FloatArray, float]:
    """Energy price of each slot, [slots] per kWh, and the demand charge per kW of the seasons it touches (the highest).

    A slot that a price change divides has the mean of its minutes. On the day that summer time begins, local 02:00
    does not come and the prices of that hour never apply; on the day it ends they apply twice.

    Raises:
        PlanInputError: The tariff's zone is unknown, or no season covers a day of the window.
    """
    if start_at.tzinfo is None:
        raise PlanInputError("The plan's start has no time zone. Give an instant like 2019-03-04T06:00:00-08:00.")
    try:
        zone = ZoneInfo(tariff.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise PlanInputError(f"Tariff {tariff.name!r}: {tariff.time_zone!r} is not a time zone.") from error
    step = _step_min(tariff, start_at.astimezone(zone), slot_min)
    origin = start_at.astimezone(UTC)
    seasons: dict[date, TariffSeason] = {}
    fine = np.empty(slots * slot_min // step)
    for position in range(len(fine)):
        local = (origin + timedelta(minutes=step * position)).astimezone(zone)
        day = local.date()
        if day not in seasons:
            seasons[day] = season_on(tariff, day)
        fine[position] = _price(seasons[day], local.hour + local.minute / 60.0 + local.second / 3600.0)
    charge = max((season.demand_charge_per_kw for season in seasons.values()), default=0.0)
    return fine.reshape(slots, slot_min // step).mean(axis=1), charge


def season_on(tariff: Tariff, day: date) -> TariffSeason:
    """The season and day type that hold on a local day.

    Raises:
        PlanInputError: None does.
    """
    mark = f"{day.month:02d}-{day.day:02d}"
    for season in tariff.seasons:
        if day.weekday() in season.days and _within(mark, season.starts_on, season.ends_on):
            return season
    raise PlanInputError(
        f"Tariff {tariff.name!r} has no prices for {day:%A} {day.isoformat()}. Add a season that covers this day."
    )


def _within(mark: str, first: str, last: str) -> bool:
    if first <= last:
        return first <= mark <= last
    return mark >= first or mark <= last  # wraps the turn of the year


def _price(season: TariffSeason, hour: float) -> float:
    price = season.periods[-1].price_per_kwh  # before the first change of the day, the last of the day before holds
    for period in season.periods:
        if period.from_hour > hour:
            break
        price = period.price_per_kwh
    return price


def _step_min(tariff: Tariff, local_start: datetime, slot_min: int) -> int:
    """Minutes between looks at the price: a whole slot where no price change can fall inside one, else one minute."""
    hours = {period.from_hour for season in tariff.seasons for period in season.periods} | {0.0}
    aligned = 60 % slot_min == 0 and local_start.minute % slot_min == 0 and local_start.second == 0
    return slot_min if aligned and all((hour * 60) % slot_min == 0 for hour in hours) else 1
