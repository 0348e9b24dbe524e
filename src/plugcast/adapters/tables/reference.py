"""The page of accepted column names, made from the alias table so that it cannot fall behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plugcast.adapters.tables.aliases import SESSION_FIELDS, TELEMETRY_FIELDS, Field
from plugcast.adapters.tables.meter_fields import METER_FIELDS

if TYPE_CHECKING:
    from collections.abc import Sequence


def columns_markdown() -> str:
    """The page ``docs/reference/columns.md``; a test holds the file to it."""
    head = (
        "# Accepted column names\n\n"
        "Generated from the tables in `plugcast.adapters.tables` (`aliases`, `meter_fields`); change them there.\n\n"
        "Names are compared without case, accents and punctuation, so `SOC%`, `SoC` and `soc` are one name. "
        "Two columns that mean the same are an error that names them; `--column OURS=THEIRS` says which one counts. "
        "In telemetry, a column that is not listed is kept untouched. An empty cell, `NA`, `N/A`, `null`, `None`, "
        "`NaN` and `-` all mean: no value.\n"
    )
    return "\n".join(
        [
            head,
            _section("Telemetry", TELEMETRY_FIELDS),
            _section("Sessions", SESSION_FIELDS),
            _section("Meter values", METER_FIELDS),
            _RULES,
        ]
    )


def _section(title: str, fields: Sequence[Field]) -> str:
    lines = [f"## {title}", "", "| column | needed | meaning | also accepted |", "|---|---|---|---|"]
    for field in fields:
        names = ", ".join(f"`{alias}`" for alias in field.aliases) or "-"
        lines.append(f"| `{field.name}` | {'yes' if field.required else 'no'} | {field.meaning} | {names} |")
    return "\n".join(lines) + "\n"


_RULES: Final = """## How values are read

- **Times** are ISO 8601 with or without an offset, RFC 1123, or seconds, milliseconds, microseconds or nanoseconds
  since 1970 (told apart by magnitude). Dates may be written year first, day first or month first; for the last two the
  whole column decides (a number above 12), dots mean day first, and slashes or dashes that decide nothing need
  `--date-order`. A two-digit year is refused. A date without a time of day is no instant and is refused.
- **A time without an offset** is local to `--time-zone`. One that the clocks skipped is refused (`bad_time`). One that
  happened twice is the earlier of the two, unless the rows of that vehicle step back once in that hour: rows after the
  step are the later ones. Rows that step back more than once are refused (`ambiguous_time`). A plug-out is the later
  one where the earlier would lie before the plug-in.
- **`--date-order swapped`** repairs year-first dates whose producer exchanged day and month wherever the day is at
  most 12. A sessions file whose row order shows this defect is refused until it is asked for.
- **Times** before 2005 or more than a day in the future are refused (`time_out_of_range`).
- **Numbers** may use a decimal comma where no other value of the column uses a point. Thousands separators are never
  guessed: `1.234,5` is refused, and so is `1,234` where it could mean either. A percent sign is dropped.
- **Duplicates**: a repeated row is counted; a second row for the same vehicle and instant (or session) with other
  values is refused (`conflicting_duplicate`), the first is kept.
"""
