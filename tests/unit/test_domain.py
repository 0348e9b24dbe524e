"""The domain's values: frozen, keyword-only, and the same after a trip through JSON."""

from __future__ import annotations

import inspect
import math
import typing
from datetime import UTC, datetime, timedelta
from enum import Enum
from importlib import import_module
from pkgutil import iter_modules
from types import NoneType, UnionType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugcast import domain
from plugcast.domain.site import Connector, CurrentType, Evse, Station
from plugcast.domain.units import current_a, power_kw

STRUCTS: list[type[msgspec.Struct]] = [
    value
    for module in iter_modules(domain.__path__, "plugcast.domain.")
    for _, value in inspect.getmembers(import_module(module.name), inspect.isclass)
    if issubclass(value, msgspec.Struct) and value.__module__ == module.name
]
INSTANTS = st.datetimes(datetime(2005, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SIMPLE: dict[object, st.SearchStrategy[Any]] = {
    str: st.text(max_size=20),
    int: st.integers(-(2**53), 2**53),
    float: NUMBERS,
    bool: st.booleans(),
    datetime: INSTANTS,
    NoneType: st.none(),
}


def _values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a field's type; a type that this does not know is a reason to look."""
    if kind in SIMPLE:
        return SIMPLE[kind]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _instances(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Annotated, typing.Literal):
        return _bounded(*arguments) if origin is typing.Annotated else st.sampled_from(arguments)
    if origin is UnionType or origin is typing.Union:
        return st.one_of([_values(each) for each in arguments])
    if origin is tuple and arguments[1:] == (Ellipsis,):
        return st.lists(_values(arguments[0]), max_size=3).map(tuple)
    raise TypeError(f"no strategy for {kind}")


def _bounded(kind: Any, bound: msgspec.Meta) -> st.SearchStrategy[Any]:
    """Any value that keeps to a declared bound."""
    if typing.get_origin(kind) is tuple:
        return st.lists(_values(typing.get_args(kind)[0]), min_size=bound.min_length or 0, max_size=3).map(tuple)
    if kind is float:
        return st.floats(bound.ge, bound.le)
    if kind is int:
        return st.integers(int(bound.ge or 0), 2**53 if bound.le is None else int(bound.le))
    if kind is bytes:
        return st.binary(max_size=bound.max_length)
    if kind is str:
        return st.text(min_size=bound.min_length or 0, max_size=bound.max_length)
    assert kind is datetime
    assert bound.tz
    return INSTANTS


def _instances(struct: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(struct, include_extras=True)
    return st.builds(struct, **{name: _values(hints[name]) for name in struct.__struct_fields__})


def test_the_domain_is_found() -> None:
    assert len(STRUCTS) > 15


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_a_value_is_the_same_after_a_trip_through_json(struct: type[msgspec.Struct]) -> None:
    @given(_instances(struct))
    def round_trip(value: msgspec.Struct) -> None:
        assert msgspec.json.decode(msgspec.json.encode(value), type=struct) == value

    round_trip()


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_struct_is_frozen_and_keyword_only(struct: type[msgspec.Struct]) -> None:
    assert struct.__struct_config__.frozen
    kinds = {parameter.kind for parameter in inspect.signature(struct).parameters.values()}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_an_instant_is_named_as_one(struct: type[msgspec.Struct]) -> None:
    hints = typing.get_type_hints(struct)
    instants = {name for name, kind in hints.items() if datetime in (kind, *typing.get_args(kind))}
    assert {name for name in instants if not name.endswith("_at")} <= {"timestamp"}  # the public telemetry contract


@given(st.floats(0.0, 1_000.0), st.floats(100.0, 1_000.0), st.sampled_from([1, 2, 3]))
def test_power_and_current_are_each_others_inverse(amps: float, voltage_v: float, phases: int) -> None:
    power = power_kw(amps, voltage_v=voltage_v, phases=phases)
    assert math.isclose(current_a(power, voltage_v=voltage_v, phases=phases), amps, rel_tol=1e-12, abs_tol=1e-12)


def test_a_station_delivers_what_its_evses_do_through_their_best_connector() -> None:
    def evse(evse_id: int, *powers: float) -> Evse:
        return Evse(
            evse_id=evse_id,
            connectors=tuple(Connector(connector_id=i, max_power_kw=power) for i, power in enumerate(powers)),
        )

    station = Station(station_id="s", current_type=CurrentType.DC, evses=(evse(1, 50.0, 43.0), evse(2, 22.0), evse(3)))
    assert station.max_power_kw == 72.0
    assert Station(station_id="empty").max_power_kw == 0.0


def test_an_instant_keeps_its_microseconds_and_its_zone() -> None:
    instant = datetime(2024, 3, 31, 0, 59, 59, 999_999, tzinfo=UTC) + timedelta(microseconds=1)
    assert msgspec.json.decode(msgspec.json.encode(instant), type=datetime) == instant
