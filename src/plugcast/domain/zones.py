"""Names of time zones: whether this machine knows one."""

from __future__ import annotations

import re
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
