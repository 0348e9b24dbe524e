"""Instants as the world writes them: offsets, local clocks, three orders of a date, seconds since 1970."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from plugcast.adapters.tables.numbers import cleaned
from plugcast.errors import ConfigError, InputError
from plugcast.schemas import INSTANT

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCAL: Final = pl.Datetime("us")


class DateOrder(StrEnum):
    """How a column writes its dates; year first is understood beside every order."""

    YMD = "ymd"
    DMY = "dmy"
    MDY = "mdy"
    SWAPPED = "swapped"
    """Year first, with day and month exchanged by the producer wherever the day is at most 12."""


_YEAR_FIRST: Final = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d")
_DATES: Final = {
    DateOrder.YMD: _YEAR_FIRST,
    DateOrder.DMY: ("%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y", *_YEAR_FIRST),
    DateOrder.MDY: ("%m/%d/%Y", "%m-%d-%Y", "%m.%d.%Y", *_YEAR_FIRST),
    DateOrder.SWAPPED: ("%Y-%d-%m", "%Y/%d/%m", "%Y.%d.%m", *_YEAR_FIRST),
}
_CLOCKS: Final = ("%H:%M:%S%.f", "%H:%M", "%I:%M:%S %p", "%I:%M %p", "%I:%M%p")
_OFFSETS: Final = ("%#z", "")
_NAMED: Final = ("%a, %d %b %Y %H:%M:%S",)
_NOT_YEAR_FIRST: Final = r"^(\d{1,2})([./-])(\d{1,2})[./-]\d{4}\b"
_SAMPLE: Final = 64
_LAST_MONTH: Final = 12
_SCALES: Final = ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0), (1e20, 1e-3))
"""Below the first: microseconds in one unit. Seconds reach the year 5138 before milliseconds begin at 1973."""


def is_zone(name: str) -> bool:
    """Whether there is a time zone of this IANA name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def check_zone(name: str) -> str:
    """The zone's name, if there is such a zone.

    Raises:
        ConfigError: There is none.
    """
    if not is_zone(name):
        raise ConfigError(f"{name!r} is not a time zone. Write one like 'Europe/Oslo' or 'UTC'.")
    return name


def infer_order(columns: Sequence[pl.Series], *, source: str) -> DateOrder:
    """The order in which these columns, taken together, write their dates.

    Raises:
        InputError: The dates are not year first, and either no number above 12 decides or the orders are mixed.
    """
    texts = [column.str.strip_chars() for column in columns if column.dtype == pl.String]
    if not texts:
        return DateOrder.YMD
    parts = pl.concat([text.alias("text") for text in texts]).str.extract_groups(_NOT_YEAR_FIRST).struct.unnest()
    parts.columns = ["first", "separator", "second"]
    parts = parts.drop_nulls().with_columns(pl.col("first", "second").cast(pl.Int32))
    if parts.is_empty():
        return DateOrder.YMD
    day_first = parts.filter((pl.col("first") > _LAST_MONTH) & (pl.col("second") <= _LAST_MONTH)).height
    month_first = parts.filter((pl.col("second") > _LAST_MONTH) & (pl.col("first") <= _LAST_MONTH)).height
    if day_first and month_first:
        raise InputError(
            f"{source}: {day_first} dates are day first and {month_first} month first. "
            "Say which order counts with --date-order dmy or mdy; the other rows will be refused."
        )
    if day_first or month_first:
        return DateOrder.DMY if day_first else DateOrder.MDY
    if (parts["separator"] == ".").all():
        return DateOrder.DMY
    raise InputError(
        f"{source}: wanted dates that show their order; no number above 12 tells day and month apart. "
        "Say it with --date-order dmy or --date-order mdy."
    )


def looks_swapped(instants: pl.DataFrame, swapped: pl.DataFrame) -> bool:
    """Whether rows stand in order of time only after day and month are exchanged.

    The distance walked through time from row to row falls to less than a fifth, over a file that
    has enough rows to tell; a file in random order walks as far either way.

    Args:
        instants: ``parse_times`` of the column as written.
        swapped: The same, read with DateOrder.SWAPPED.
    """
    walked = [_walked(frame) for frame in (instants, swapped)]
    return instants.height >= _SAMPLE and walked[1] < 0.2 * walked[0]


def _walked(frame: pl.DataFrame) -> float:
    at = frame.select(pl.coalesce(pl.col("local"), pl.col("utc").dt.replace_time_zone(None))).to_series().drop_nulls()
    return float(at.dt.epoch("s").diff().abs().cast(pl.Float64).sum() or 0.0)


def join_date(dates: pl.Series, times: pl.Series) -> pl.Series:
    """A column of dates and one of times of day as one; a midnight that a date carries along is dropped.

    >>> join_date(pl.Series(["2017-01-12T00:00:00"]), pl.Series(["12:09"])).to_list()
    ['2017-01-12 12:09']
    """
    day = cleaned(dates).str.replace(r"[T ]00:00(:00(\.0+)?)?$", "")
    return pl.select(pl.concat_str(pl.lit(day), pl.lit(cleaned(times)), separator=" ")).to_series()


def parse_times(column: pl.Series, order: DateOrder) -> pl.DataFrame:
    """Every cell as an instant: ``utc`` where the cell carries an offset, else ``local``; both null where unreadable.

    Cost: one pass of the parser over the column for each layout that occurs in it.
    """
    name = column.name or "cell"
    if isinstance(column.dtype, pl.Datetime):
        aware = column.dtype.time_zone is not None
        at = column.dt.convert_time_zone("UTC") if aware else column
        return _times(
            utc=at.cast(INSTANT) if aware else pl.Series(name, [None], dtype=INSTANT).new_from_index(0, len(column)),
            local=pl.Series(name, [None], dtype=LOCAL).new_from_index(0, len(column)) if aware else at.cast(LOCAL),
        )
    if column.dtype.is_numeric():
        return _times(
            utc=_from_epoch(column.cast(pl.Float64, strict=False)),
            local=pl.Series(name, [None], dtype=LOCAL).new_from_index(0, len(column)),
        )
    return _parse_texts(cleaned(column), order)


def _times(*, utc: pl.Series, local: pl.Series) -> pl.DataFrame:
    return pl.DataFrame([utc.alias("utc"), local.alias("local")])


def _parse_texts(text: pl.Series, order: DateOrder) -> pl.DataFrame:
    utc = pl.Series("utc", [None], dtype=INSTANT).new_from_index(0, len(text))
    local = pl.Series("local", [None], dtype=LOCAL).new_from_index(0, len(text))
    open_rows = text.is_not_null().arg_true()
    rest = text.gather(open_rows)
    for layout in _layouts(rest, order):
        if rest.is_empty():
            break
        read = _read(rest, layout)
        done = read.is_not_null()
        if not done.any():
            continue
        if isinstance(read.dtype, pl.Datetime) and read.dtype.time_zone:
            utc = utc.scatter(open_rows.filter(done), read.filter(done).cast(INSTANT))
        else:
            local = local.scatter(open_rows.filter(done), read.filter(done).cast(LOCAL))
        open_rows, rest = open_rows.filter(~done), rest.filter(~done)
    if not rest.is_empty():
        utc = utc.scatter(open_rows, _from_epoch(rest.cast(pl.Float64, strict=False)))
    return _times(utc=utc, local=local)


def _layouts(text: pl.Series, order: DateOrder) -> list[str]:
    """Formats in the order in which to try them: those that fit most of a sample first, swapped dates before plain."""
    layouts = [
        f"{date}{joint}{clock}{offset}"
        for date in _DATES[order]
        for joint in (" ", "T")
        for clock in _CLOCKS
        for offset in _OFFSETS
    ]
    layouts += [f"{named}{offset}" for named in _NAMED for offset in (" %#z", "")]
    if order is DateOrder.SWAPPED:
        return layouts
    sample = text.gather_every(max(1, len(text) // _SAMPLE))
    fits: dict[str, int] = {}
    for layout in layouts:
        fits[layout] = int(_read(sample, layout).is_not_null().sum())
        if fits[layout] == len(sample):
            break
    return sorted(layouts, key=lambda layout: -fits.get(layout, 0))


def _read(text: pl.Series, layout: str) -> pl.Series:
    if layout.endswith("z"):
        # names of the zero meridian are the only zone names that mean one thing everywhere
        text = text.str.replace(r"\s*(?:UTC|GMT|[zZ])$", "+00:00")
    return text.str.to_datetime(layout, strict=False, time_unit="us")


def _from_epoch(numbers: pl.Series) -> pl.Series:
    name = numbers.name or "cell"
    value = pl.col(name)
    micros = pl.lit(None, dtype=pl.Float64)
    for limit, factor in reversed(_SCALES):
        micros = pl.when(value.abs() < limit).then(value * factor).otherwise(micros)
    frame = numbers.alias(name).fill_nan(None).to_frame()
    return frame.select(micros.round().cast(pl.Int64, strict=False).cast(LOCAL).dt.replace_time_zone("UTC")).to_series()


def localise(times: pl.DataFrame, zone: str) -> pl.DataFrame:
    """Instants of ``parse_times`` in UTC: ``at`` the earlier reading, ``later`` the other where the clocks went back.

    A local time that the clocks skipped stays null in both.
    """

    def read(ambiguous: Literal["earliest", "latest"]) -> pl.Expr:
        local = pl.col("local").dt.replace_time_zone(zone, ambiguous=ambiguous, non_existent="null")
        return pl.coalesce(pl.col("utc"), local.dt.convert_time_zone("UTC").cast(INSTANT))

    return times.with_columns(read("earliest").alias("at"), read("latest").alias("later"))


def resolve_folds(times: pl.DataFrame, owner: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The reading of hours that happened twice, from the order of one owner's rows in the file.

    Within an owner's doubled hour: no step back - all earlier; exactly one - the rows from it on are later;
    more - nobody can tell.

    Args:
        times: As ``localise`` gives them, in file order.
        owner: The vehicle of each row.

    Returns:
        Instants (null where nobody can tell) and the mask of those that nobody can tell.
    """
    at, none = times["at"], times["at"].is_null() & times["at"].is_not_null()
    doubled = (at != times["later"]).fill_null(value=False)
    if not doubled.any():
        return at, none
    frame = pl.DataFrame({"owner": owner, "local": times["local"], "doubled": doubled}).with_row_index("index")
    frame = frame.filter(
        pl.col("owner").is_in(owner.filter(doubled).unique().implode()) & pl.col("local").is_not_null()
    )
    before = pl.col("local").shift(1).over("owner")
    day = ["owner", pl.col("local").dt.date()]
    frame = (
        frame.with_columns(back=(pl.col("doubled") & (pl.col("local") < before)).fill_null(value=False))
        .filter("doubled")
        .with_columns(steps=pl.col("back").sum().over(day), past=pl.col("back").cum_sum().over(day) > 0)
    )
    later = frame.filter((pl.col("steps") == 1) & pl.col("past"))["index"]
    lost = frame.filter(pl.col("steps") > 1)["index"]
    at = at.scatter(later, times["later"].gather(later)) if len(later) else at
    if len(lost):
        at = at.scatter(lost, None)
        none = none.scatter(lost, values=True)
    return at, none
