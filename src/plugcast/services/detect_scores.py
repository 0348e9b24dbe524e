"""The score of every session reported on, odd or not: to compare a stream with, or to rank by oneself."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import msgspec
import polars as pl

from plugcast.adapters.files import write_atomic
from plugcast.errors import InputError
from plugcast.schemas import INSTANT
from plugcast.services.tables import write_csv

if TYPE_CHECKING:
    from pathlib import Path

    from plugcast.services.detect_run import DetectReport

SUFFIXES: Final = (".csv", ".jsonl", ".parquet")
COLUMNS: Final = {
    "session_id": pl.String(),
    "station_id": pl.String(),
    "observed_at": INSTANT,
    "score": pl.Float64(),
    "p_value": pl.Float64(),
    "by": pl.String(),
}


def scores(report: DetectReport) -> pl.DataFrame:
    """One row a session, in the order of their records.

    ``score`` is in [0, 1), HIGHER is odder. ``p_value`` is the one that the day's level of alarm was held against. Both
    are null where no model could say. ``by`` names the first finding of the session, null where there is none; events
    of the site are nobody's own.
    """
    by: dict[tuple[str, str], str] = {}
    for finding in report.findings:
        if not finding.by.startswith("site:"):
            by.setdefault((finding.site_id, finding.session_id), finding.by)
    rows = [
        (
            judged.session_id,
            judged.station_id,
            judged.observed_at,
            judged.score,
            judged.p_value_of_day,
            by.get((judged.site_id, judged.session_id)),
        )
        for judged in report.judgements
    ]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def require_suffix(path: Path) -> None:
    """Refuse a name that says no format, before anything is computed.

    Raises:
        InputError: It is none of ``SUFFIXES``.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: wanted a name that ends in {', '.join(SUFFIXES)}, for the scores' format.")


def write_scores(report: DetectReport, path: Path) -> None:
    """Write :func:`scores` in the format that the name says, whole or not at all; floats to the last bit.

    Raises:
        InputError: The name says no format.
    """
    require_suffix(path)
    frame = scores(report)
    match path.suffix.lower():
        case ".csv":
            write_csv(frame, path)
        case ".jsonl":
            write_atomic(path, msgspec.json.Encoder().encode_lines(frame.to_dicts()))
        case _:
            buffer = io.BytesIO()
            frame.write_parquet(buffer)
            write_atomic(path, buffer.getvalue())
