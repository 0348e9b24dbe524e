"""A file's content, not its name, chooses its reader."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from plugcast.adapters.acn.files import AcnFile
from plugcast.adapters.tables import SessionsFile, TelemetryFile
from plugcast.errors import MissingColumnsError, NoUsableRowsError, UnreadableInputError
from plugcast.services.sources import SourceKind, kind_of, open_sessions, open_telemetry, require_rows

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2024, 6, 1, tzinfo=UTC)
CONTENTS = {
    "acn": [
        b'{"_id": "1"}\n',
        b'\xef\xbb\xbf [ {"_id": "1"} ]',
        b"_id,connectionTime,disconnectTime,kWhDelivered,stationID\n",
    ],
    "sessions": [
        b"session_id,station_id,connection_time,disconnect_time,kwh_delivered\n",
        b"start;end;Wh\n",  # the station may come from an option
    ],
    "telemetry": [b"vehicle_id,time,soc,plugged\n", b"time,SOC%,plugged\n", b"asset_id,ts,soc,battery_level,plugged\n"],
}


@pytest.mark.parametrize(("kind", "content"), [(kind, content) for kind, all_ in CONTENTS.items() for content in all_])
@pytest.mark.parametrize("packed", [False, True])
def test_the_kind_is_seen_in_the_content(tmp_path: Path, kind: str, content: bytes, *, packed: bool) -> None:
    path = tmp_path / "download.bin"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert kind_of(path) is SourceKind(kind)


def test_declared_columns_count(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"when,charge,in\n")
    with pytest.raises(MissingColumnsError, match=r"telemetry.*sessions.*found when, charge, in"):
        kind_of(path)
    assert kind_of(path, columns={"timestamp": "when", "soc": "charge", "is_plugged_in": "in"}) is SourceKind.TELEMETRY


def test_readers_follow_the_kind(tmp_path: Path) -> None:
    for kind, contents in CONTENTS.items():
        path = tmp_path / kind
        path.write_bytes(contents[0])
    assert isinstance(open_sessions(tmp_path / "acn", now=NOW), AcnFile)
    assert isinstance(open_sessions(tmp_path / "sessions", now=NOW, time_zone="Europe/Oslo"), SessionsFile)
    assert isinstance(open_telemetry(tmp_path / "telemetry", now=NOW), TelemetryFile)
    with pytest.raises(UnreadableInputError, match="no such file"):
        kind_of(tmp_path / "nowhere")


def test_a_read_without_usable_rows_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"car,time,soc,plugged\n")
    with pytest.raises(NoUsableRowsError, match="no record"):
        require_rows(TelemetryFile(path, now=NOW).read(), source="t.csv")
    path.write_bytes(b"car,time,soc,plugged\nev,2024-01-01 10:00,101,1\n")
    with pytest.raises(NoUsableRowsError, match=r"none of 1 rows.*out_of_range.*'101'"):
        require_rows(TelemetryFile(path, now=NOW).read(), source="t.csv")
    path.write_bytes(b"car,time,soc,plugged\nev,2024-01-01 10:00,100,1\n")
    require_rows(TelemetryFile(path, now=NOW).read(), source="t.csv")
