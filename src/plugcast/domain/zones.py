"""Time zones: whether this machine knows a name, and what a local time can mean."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_ZONE_NAME: Final = re.compile(r"[A-Za-z]+(?:/[A-Za-z0-9_+-]+){0,2}")


@lru_cache(maxsize=512)
def known_zone(name: str) -> bool:
    """Whether the name is an IANA time zone of this machine."""
    if not _ZONE_NAME.fullmatch(name):
        return False
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def meanings(local: datetime, zone: ZoneInfo) -> tuple[datetime, ...]:
    """The instants of a local time: none where the clock skips it, two where it passes it twice.

    >>> [len(meanings(datetime(2024, 3, 31, hour, 30), ZoneInfo("Europe/Oslo"))) for hour in (1, 2, 3)]
    [1, 0, 1]
    """
    first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first.astimezone(zone).replace(tzinfo=None) != local:
        return ()
    return (first,) if first == second else (first, second)
