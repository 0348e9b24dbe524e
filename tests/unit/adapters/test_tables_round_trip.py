"""A frame written the way other people write it comes back as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from plugcast.adapters.tables import SessionsFile, TelemetryFile

if TYPE_CHECKING:
    import pytest

NOW = datetime(2024, 6, 1, tzinfo=UTC)
LAYOUTS = {
    "ymd": "%Y-%m-%d %H:%M:%S",
    "dmy": "%d.%m.%Y %H:%M:%S",
    "dmy/": "%d/%m/%Y %H:%M:%S",
    "mdy": "%m/%d/%Y %I:%M:%S %p",
}
HALF = settings().max_examples // 2
ZONES = ("UTC", "Europe/Oslo", "America/Los_Angeles", "Asia/Kolkata")
FLAGS = (("True", "False"), ("1", "0"), ("yes", "no"), ("2", "0"))


def _told_once(at: datetime, zone: ZoneInfo) -> bool:
    """Whether the local time of an instant names no other instant."""
    local = at.astimezone(zone)
    return local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset()


@st.composite
def _telemetry(draw: st.DrawFn) -> tuple[list[tuple[str, datetime, float, bool]], ZoneInfo]:
    zone = ZoneInfo(draw(st.sampled_from(ZONES)))
    seconds = st.integers(0, 365 * 86_400)
    keys = draw(st.lists(st.tuples(st.sampled_from(["a", "ev 2", "Zoë"]), seconds), unique=True, max_size=20))
    rows = []
    for asset, offset in sorted(keys):
        at = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(seconds=offset)
        if _told_once(at, zone):
            rows.append((asset, at, draw(st.integers(0, 10_000)) / 100, draw(st.booleans())))
    return rows, zone


@settings(max_examples=HALF)
@given(
    given_rows=_telemetry(),
    layout=st.sampled_from(list(LAYOUTS)),
    flags=st.sampled_from(FLAGS),
    separator=st.sampled_from(",;\t"),
    comma=st.booleans(),
)
def test_telemetry(
    tmp_path_factory: pytest.TempPathFactory,
    given_rows: tuple[list[tuple[str, datetime, float, bool]], ZoneInfo],
    layout: str,
    flags: tuple[str, str],
    separator: str,
    *,
    comma: bool,
) -> None:
    rows, zone = given_rows
    lines = [separator.join(["vehicleId", "datetime", "SOC%", "pluggedIn"])]
    for asset, at, soc, plugged in rows:
        number = f"{soc:.2f}".replace(".", ",") if comma else f"{soc:.2f}"
        cell = f'"{number}"' if separator in number else number
        lines.append(separator.join([asset, at.astimezone(zone).strftime(LAYOUTS[layout]), cell, flags[not plugged]]))
    path = tmp_path_factory.mktemp("round") / "t.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    read = TelemetryFile(path, now=NOW, time_zone=zone.key, date_order=layout[:3]).read()
    assert read.rejected == ()
    wanted = pl.DataFrame(
        rows,
        schema={
            "asset_id": pl.String,
            "timestamp": pl.Datetime("us", "UTC"),
            "soc": pl.Float64,
            "is_plugged_in": pl.Boolean,
        },
        orient="row",
    )
    assert_frame_equal(read.samples.select(wanted.columns), wanted.sort("asset_id", "timestamp"))


@settings(max_examples=HALF)
@given(
    st.lists(st.tuples(st.integers(0, 300 * 1_440), st.integers(0, 3_000), st.integers(0, 9_999)), max_size=20),
    st.sampled_from(["ymd", "dmy", "dmy/"]),
)
def test_sessions(tmp_path_factory: pytest.TempPathFactory, stays: list[tuple[int, int, int]], layout: str) -> None:
    start = datetime(2023, 1, 1, tzinfo=UTC)
    rows = [
        (str(number), start + timedelta(minutes=at), start + timedelta(minutes=at + stay), energy / 100)
        for number, (at, stay, energy) in enumerate(stays)
    ]
    lines = ["session_ID;Station;Start_plugin;End_plugout;El_kWh"]
    lines += [
        f"{key};S;{begin.strftime(LAYOUTS[layout])};{end.strftime(LAYOUTS[layout])};{str(kwh).replace('.', ',')}"
        for key, begin, end, kwh in rows
    ]
    path = tmp_path_factory.mktemp("round") / "s.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    read = SessionsFile(path, now=NOW, date_order=layout[:3]).read()
    assert read.rejected == ()
    found = read.sessions.select("session_id", "arrival_at", "departure_at", "energy_delivered_kwh").rows()
    assert found == sorted(rows, key=lambda row: (row[1], row[0]))
