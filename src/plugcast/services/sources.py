"""Which reader a file needs, decided by what is in it."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plugcast.adapters.tables import SessionsFile, TelemetryFile
from plugcast.adapters.tables.aliases import SESSION_FIELDS, TELEMETRY_FIELDS, match
from plugcast.adapters.tables.frames import column_names
from plugcast.adapters.tables.text import check_file
from plugcast.errors import InputError, MissingColumnsError, NoUsableRowsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from plugcast.adapters.tables import DateOrder
    from plugcast.ports import SessionSource, SessionsRead, TelemetryRead, TelemetrySource


class SourceKind(StrEnum):
    """What a file holds."""

    ACN = "acn"
    """Sessions in ACN-Data's native form, JSON or CSV."""
    SESSIONS = "sessions"
    TELEMETRY = "telemetry"


_ACN_COLUMNS: Final = {"_id", "connectionTime", "kWhDelivered"}
_WANTED: Final = " or ".join(
    f"{', '.join(field.name for field in fields if field.required)} ({kind})"
    for kind, fields in (("telemetry", TELEMETRY_FIELDS), ("sessions", SESSION_FIELDS))
)
_HEAD_BYTES: Final = 4_096


def kind_of(path: Path | str, *, columns: Mapping[str, str] | None = None) -> SourceKind:
    """What the file holds, by its first bytes or its column names.

    Args:
        path: The file.
        columns: Our column names to the file's, from the user.

    Raises:
        UnreadableInputError: There is no readable file.
        MissingColumnsError: The columns are neither those of sessions nor those of telemetry.
        InputError: They are both.
    """
    path = Path(path)
    check_file(path)
    if _is_json(path):
        return SourceKind.ACN
    found = column_names(path)
    if set(found) >= _ACN_COLUMNS:
        return SourceKind.ACN
    fits = [kind for kind in (SourceKind.SESSIONS, SourceKind.TELEMETRY) if _fits(found, kind, columns or {})]
    if len(fits) > 1:
        raise InputError(f"{path.name}: the columns fit sessions and telemetry. Say which with --kind.")
    if not fits:
        raise MissingColumnsError(
            path.name,
            missing=[_WANTED],
            found=found,
            hint="Rename the columns, name them with --column OURS=THEIRS, or say --kind to learn which ones lack; "
            "docs/reference/columns.md lists the accepted names.",
        )
    return fits[0]


def _is_json(path: Path) -> bool:
    try:
        with path.open("rb") as raw:
            head = raw.read(2)
            raw.seek(0)
            start = (gzip.GzipFile(fileobj=raw) if head == b"\x1f\x8b" else raw).read(_HEAD_BYTES)
    except (OSError, EOFError, zlib.error):
        return False  # the reader will say what is wrong with it
    return start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in {b"{", b"["}


_ASSET_OR_STATION: Final = {SourceKind.TELEMETRY: "asset_id", SourceKind.SESSIONS: "station_id"}


def _fits(found: Sequence[str], kind: SourceKind, columns: Mapping[str, str]) -> bool:
    """Whether all required columns are there; the vehicle or station may still come from an option."""
    fields = TELEMETRY_FIELDS if kind is SourceKind.TELEMETRY else SESSION_FIELDS
    names = {field.name for field in fields}
    declared = {ours: theirs for ours, theirs in columns.items() if ours in names}
    try:
        match(found, fields, source="", declared=declared, given=(_ASSET_OR_STATION[kind],))
    except MissingColumnsError:
        return False
    except InputError:
        return True  # two columns for one name: it is this kind, and its reader names them
    return True


def open_sessions(
    path: Path | str,
    *,
    now: datetime,
    time_zone: str = "UTC",
    date_order: DateOrder | str | None = None,
    columns: Mapping[str, str] | None = None,
    site_id: str = "site",
    station_id: str | None = None,
) -> SessionSource:
    """A reader of sessions: ACN-Data's native form, or any table of sessions.

    Raises:
        UnreadableInputError: There is no readable file.
    """
    path = Path(path)
    check_file(path)
    if _is_json(path) or set(column_names(path)) >= _ACN_COLUMNS:
        from plugcast.adapters.acn.files import AcnFile  # noqa: PLC0415 - tables need none of it

        if columns or date_order or station_id:
            raise InputError(
                f"{path.name} is ACN-Data, whose columns, dates and stations are fixed. Leave out --column, "
                "--date-order and --asset-id."
            )
        return AcnFile(path, now=now)
    return SessionsFile(
        path,
        now=now,
        time_zone=time_zone,
        date_order=date_order,
        columns=columns,
        site_id=site_id,
        station_id=station_id,
    )


def open_telemetry(
    path: Path | str,
    *,
    now: datetime,
    time_zone: str = "UTC",
    date_order: DateOrder | str | None = None,
    columns: Mapping[str, str] | None = None,
    asset_id: str | None = None,
) -> TelemetrySource:
    """A reader of telemetry."""
    return TelemetryFile(path, now=now, time_zone=time_zone, date_order=date_order, columns=columns, asset_id=asset_id)


def require_rows(read: SessionsRead | TelemetryRead, *, source: str) -> None:
    """Refuse a read that left nothing to work with.

    Raises:
        NoUsableRowsError: No row was accepted; the message says what the first refused row lacked.
    """
    if read.counts.accepted:
        return
    if not read.counts.read:
        raise NoUsableRowsError(f"{source}: wanted rows; found a header or an empty list, and no record.")
    told = ", ".join(f"{reason} {n:,}" for reason, n in Counter(str(r.reason) for r in read.rejected).most_common())
    first = read.rejected[0]
    raise NoUsableRowsError(
        f"{source}: none of {read.counts.read:,} rows could be used ({told}). "
        f"The first is row {first.row}: {first.detail}"
    )
