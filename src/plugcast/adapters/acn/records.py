"""One ACN-Data record: its thirteen native fields, decoded loosely and then checked one by one.

Nulls are kept: a null doneChargingTime says that the car never reported the end, a null disconnectTime that it is
still there, null userInputs that nobody declared anything. A doneChargingTime after the disconnect or before the
connect is kept as well: it is the evidence of a clock fault.

Beware of ``userID``: the session's own field is filled in with hindsight. Drivers often identify themselves minutes
after plugging in, so at plug-in time only the declarations (``available_at`` = modifiedAt) say who is known.
"""

from __future__ import annotations

import ast
import json
import math
import re
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from plugcast.adapters.acn.fields import NULL_WORDS, FieldReader, Problem, Scalar, shown
from plugcast.domain.rejected import RejectReason
from plugcast.domain.session import Session, UserInput
from plugcast.domain.units import MAX_SESSION_ENERGY_KWH

CODE_DIGITS: Final = 4
"""Digits of siteID and clusterID."""
USER_DIGITS: Final = 9
"""Digits of userID in sessions; the declarations carry the same number without its zeros."""
MAX_MINUTES: Final = 366 * 1440.0
MAX_MILES: Final = 10_000.0
MAX_WH_PER_MILE: Final = 10_000.0
MAX_REPR_CHARS: Final = 65_536
"""Longest Python text of userInputs that is parsed; 25 amendments, the most ever seen, take 6,000."""
CLOCK_SLACK: Final = timedelta(days=1)
DECLARED_AHEAD: Final = timedelta(days=366)

_REPR_TOKENS: Final = re.compile(
    r"""(?:\s | [\[{,:] | [\]}](?=\s*(?:[,\]}]|$))
    | '(?:[^'\\\n]|\\[\\'"nrt])*+' | "(?:[^"\\\n]|\\[\\'"nrt])*+"
    | (?:-?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)? | None | True | False)(?=\s*[,:\]}]))*+""",
    re.VERBOSE,
)
"""The only tokens that a printed list of declarations has: no name, call, operator or subscript reaches the parser."""


class NativeInput(msgspec.Struct, frozen=True, rename={"wh_per_mile": "WhPerMile"}):
    """One declaration as served; every field may be missing."""

    wh_per_mile: Scalar = None
    kWhRequested: Scalar = None  # noqa: N815 - ACN-Data's own name
    milesRequested: Scalar = None  # noqa: N815 - ACN-Data's own name
    minutesAvailable: Scalar = None  # noqa: N815 - ACN-Data's own name
    modifiedAt: Scalar = None  # noqa: N815 - ACN-Data's own name
    paymentRequired: Scalar = None  # noqa: N815 - ACN-Data's own name
    requestedDeparture: Scalar = None  # noqa: N815 - ACN-Data's own name
    userID: Scalar = None  # noqa: N815 - ACN-Data's own name


class NativeRecord(msgspec.Struct, frozen=True, rename={"id_": "_id"}):
    """One session as served; every field may be missing, unknown fields are passed over."""

    id_: Scalar = None
    clusterID: Scalar = None  # noqa: N815 - ACN-Data's own name
    connectionTime: Scalar = None  # noqa: N815 - ACN-Data's own name
    disconnectTime: Scalar = None  # noqa: N815 - ACN-Data's own name
    doneChargingTime: Scalar = None  # noqa: N815 - ACN-Data's own name
    kWhDelivered: Scalar = None  # noqa: N815 - ACN-Data's own name
    sessionID: Scalar = None  # noqa: N815 - ACN-Data's own name
    siteID: Scalar = None  # noqa: N815 - ACN-Data's own name
    spaceID: Scalar = None  # noqa: N815 - ACN-Data's own name
    stationID: Scalar = None  # noqa: N815 - ACN-Data's own name
    timezone: Scalar = None
    userID: Scalar = None  # noqa: N815 - ACN-Data's own name
    userInputs: list[NativeInput] | str | float | None = None  # noqa: N815 - ACN-Data's own name


NATIVE_FIELDS: Final = tuple(field.encode_name for field in msgspec.structs.fields(NativeRecord))
"""The thirteen native names."""


class Visit(NamedTuple):
    """One accepted record: the session and what its driver declared, in the order given."""

    session: Session
    inputs: tuple[UserInput, ...]


_RECORD: Final = msgspec.json.Decoder(NativeRecord)
_INPUTS: Final = msgspec.json.Decoder(list[NativeInput])


def decode_record(data: bytes) -> NativeRecord | Problem:
    """The native record of one JSON object; NaN and Infinity, which Python writes, are let through to the checks."""
    try:
        return _RECORD.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        first = str(error)
    try:
        return msgspec.convert(json.loads(data.decode()), NativeRecord)
    except msgspec.ValidationError as error:
        return Problem(RejectReason.UNDECODABLE, f"wanted an ACN-Data session, found: {error}.")
    except (ValueError, RecursionError):
        return Problem(RejectReason.UNDECODABLE, f"wanted one JSON object, found: {first}.")


def decode_inputs(text: str) -> list[NativeInput] | Problem:
    """The declarations of a table cell, written as JSON or as Python prints a list of dicts."""
    if text.strip() in NULL_WORDS:
        return []
    try:
        return _INPUTS.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass
    if len(text) > MAX_REPR_CHARS:
        return Problem(
            RejectReason.TOO_LONG, f"userInputs: wanted at most {MAX_REPR_CHARS} characters, found {len(text)}."
        )
    try:
        value = ast.literal_eval(text.strip()) if _REPR_TOKENS.fullmatch(text) else json.loads(text)
        return msgspec.convert(value, list[NativeInput])
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        return Problem(
            RejectReason.UNDECODABLE,
            f"userInputs: wanted a list as JSON or Python text, found {shown(text)} ({type(error).__name__}).",
        )


def parse_visit(native: NativeRecord, *, now: datetime) -> Visit | Problem:
    """Check one native record against the bounds of ``domain.units`` and the clock ``now`` (UTC-aware)."""
    read = FieldReader(latest_at=now + CLOCK_SLACK)
    session_id = read.required("_id", native.id_)
    arrival_at = read.instant("connectionTime", native.connectionTime)
    if arrival_at is None:
        read.fail(RejectReason.MISSING_VALUE, f"connectionTime: wanted a time, found {shown(native.connectionTime)}.")
        return read.problem or Problem(RejectReason.MISSING_VALUE, "connectionTime")
    departure_at = read.instant("disconnectTime", native.disconnectTime)
    if departure_at is not None and departure_at < arrival_at:
        read.fail(
            RejectReason.END_BEFORE_START,
            f"wanted disconnectTime after connectionTime {arrival_at.isoformat()}, found {departure_at.isoformat()}.",
        )
    session = Session(
        session_id=session_id,
        site_id=read.code("siteID", read.required("siteID", native.siteID), digits=CODE_DIGITS) or "",
        station_id=read.required("stationID", native.stationID),
        arrival_at=arrival_at,
        departure_at=departure_at,
        done_charging_at=read.instant("doneChargingTime", native.doneChargingTime),
        energy_delivered_kwh=read.number("kWhDelivered", native.kWhDelivered, high=MAX_SESSION_ENERGY_KWH),
        time_zone=read.zone("timezone", native.timezone),
        cluster_id=read.code("clusterID", native.clusterID, digits=CODE_DIGITS),
        space_id=read.text("spaceID", native.spaceID),
        user_id=read.code("userID", native.userID, digits=USER_DIGITS),
        native_session_id=read.text("sessionID", native.sessionID),
    )
    natives = _native_inputs(native)
    if isinstance(natives, Problem):
        return read.problem or natives
    inputs = tuple(_parse_input(read, item, place, session) for place, item in enumerate(natives))
    return Visit(session, inputs) if read.problem is None else read.problem


def _native_inputs(native: NativeRecord) -> list[NativeInput] | Problem:
    found = native.userInputs
    if found is None:
        return []
    if isinstance(found, str):
        return decode_inputs(found)
    if isinstance(found, list):
        return found
    if math.isnan(found):
        return []
    return Problem(RejectReason.UNDECODABLE, f"userInputs: wanted a list, found {found!r}.")


def _parse_input(read: FieldReader, native: NativeInput, place: int, session: Session) -> UserInput:
    """One declaration, known from ``modifiedAt`` on, or from the plug-in where that is missing."""
    at = f"userInputs[{place}]."
    return UserInput(
        session_id=session.session_id,
        available_at=read.instant(at + "modifiedAt", native.modifiedAt) or session.arrival_at,
        energy_requested_kwh=read.number(at + "kWhRequested", native.kWhRequested, high=MAX_SESSION_ENERGY_KWH),
        declared_departure_at=read.instant(
            at + "requestedDeparture", native.requestedDeparture, latest_at=session.arrival_at + DECLARED_AHEAD
        ),
        minutes_available=read.number(at + "minutesAvailable", native.minutesAvailable, high=MAX_MINUTES),
        miles_requested=read.number(at + "milesRequested", native.milesRequested, high=MAX_MILES),
        wh_per_mile=read.number(at + "WhPerMile", native.wh_per_mile, high=MAX_WH_PER_MILE),
        payment_required=read.flag(at + "paymentRequired", native.paymentRequired),
        user_id=read.code(at + "userID", native.userID, digits=USER_DIGITS),
    )
