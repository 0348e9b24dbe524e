"""The detector's words, its budget and its files."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from plugcast.anomaly.detector import MODEL_FEATURES, Detector
from plugcast.anomaly.explain import CAUSE_WORDS, TOPICS, reasons
from plugcast.anomaly.kind_model import station_weeks
from plugcast.anomaly.model_file import ARRAY_FILE, HISTORY_FILE, MANIFEST, has_detector, load_detector, save_detector
from plugcast.anomaly.stack import SUPERVISED
from plugcast.domain.finding import Cause
from plugcast.errors import ModelError, ModelNotFoundError, SpecMismatchError
from plugcast.features.sessions import SessionFeatures
from plugcast.schemas import SESSIONS, USER_INPUTS, empty

NO_INPUTS = empty(USER_INPUTS)


class Shelf:
    """A ports.ArtifactStore in a dict."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def put(self, name: str, content: bytes) -> None:
        self.kept[name] = content

    def get(self, name: str) -> bytes:
        if name not in self.kept:
            raise ModelNotFoundError(name)
        return self.kept[name]

    def names(self) -> list[str]:
        return sorted(self.kept)


def visits(count: int, *, seed: int = 0, first: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for number in range(first, first + count):
        arrival = datetime(2019, 1, 7, 15, tzinfo=UTC) + timedelta(hours=6 * number, minutes=rng.normal(0, 20))
        charging = timedelta(hours=2 + rng.normal(0, 0.2))
        departure = arrival + timedelta(hours=5 + rng.normal(0, 0.3))
        rows.append(
            {
                "session_id": f"v{number}",
                "site_id": "site",
                "station_id": f"st{number % 3}",
                "user_id": f"u{number % 5}",
                "time_zone": "UTC",
                "arrival_at": arrival,
                "departure_at": departure,
                "done_charging_at": arrival + charging,
                "energy_delivered_kwh": 6.0 * charging / timedelta(hours=1) * rng.normal(1, 0.01),
                "available_at": departure,
            }
        )
    return pl.DataFrame(rows, schema={n: t for n, t in SESSIONS.items() if n in rows[0]}).select(
        pl.col(n) if n in rows[0] else pl.lit(None, t).alias(n) for n, t in SESSIONS.items()
    )


DETECTOR = Detector.fit(visits(600), NO_INPUTS, time_zone="UTC", alarms_per_station_week=1.0, seed=1)
LATER = visits(60, seed=9, first=600)


def changed(**changes: Any) -> pl.DataFrame:
    return LATER.head(1).with_columns([pl.lit(v, SESSIONS[n]).alias(n) for n, v in changes.items()])


def test_a_derated_session_is_told_against_the_drivers_own_norm() -> None:
    slow = changed(session_id="slow", energy_delivered_kwh=4.2)
    (finding,) = DETECTOR.detect(slow, NO_INPUTS)
    assert (finding.by, finding.cause) == ("model:stack", Cause.DERATING)
    power = finding.reasons[0]
    assert "this driver's median over 120 visits is 6.0 kW" in power.text
    assert power.value is not None
    assert power.norm is not None
    assert power.value < power.norm / 2
    assert power.contribution > 0
    assert [r.contribution for r in finding.reasons] == sorted((r.contribution for r in finding.reasons), reverse=True)


def test_power_over_a_stay_is_not_called_derating_where_the_end_of_charging_is_missing() -> None:
    silent = changed(session_id="silent", done_charging_at=None)
    causes = {f.cause for f in DETECTOR.with_budget(50.0).detect(silent, NO_INPUTS)}
    assert Cause.NEVER_DONE in causes
    assert Cause.DERATING not in causes


def knowing(**known: float) -> SessionFeatures:
    """A session of which only these numbers are known."""
    numbers: dict[str, Any] = dict.fromkeys(SessionFeatures.__struct_fields__[6:], math.nan) | known
    return SessionFeatures(
        session_id="s",
        site_id="i",
        station_id="t",
        user_id=None,
        observed_at=datetime(2019, 1, 1, tzinfo=UTC),
        current_type="ac",
        **numbers,
    )


def test_reasons_are_never_none_even_where_nothing_is_known() -> None:
    row = knowing()
    features = (*SUPERVISED, *MODEL_FEATURES)
    for share in (0.0, 1.0, -1.0):
        why, _ = reasons(row, dict.fromkeys(features, share), ())
        assert why
    for cause in CAUSE_WORDS:
        why, named = reasons(row, dict.fromkeys(features, 0.1), [(cause, 1.0)])
        assert named == cause == why[0].cause
        assert "nan" not in why[0].text
    for name in features:
        why, _ = reasons(row, dict.fromkeys(features, 0.0) | {name: 1.0}, ())
        assert "nan" not in why[0].text
        assert why[0].feature in {other for other, topic in TOPICS.items() if topic == TOPICS[name]}


@pytest.mark.parametrize(
    ("mean_kw", "driver", "station", "rating", "said"),
    [
        (2.0, 6.0, 1.5, 6.9, "this driver's median over 9 visits is 6.0 kW"),
        (2.0, 1.3, 5.0, 6.9, "this station's median over 50 sessions is 5.0 kW"),
        (2.0, 1.3, 1.5, 6.9, "the station's rating is 6.9 kW"),
        (6.8, 1.3, 1.5, 6.9, ""),
    ],
)
def test_low_power_is_said_beside_a_norm_that_is_higher_or_not_at_all(
    mean_kw: float, driver: float, station: float, rating: float, said: str
) -> None:
    row = knowing(
        mean_kw=mean_kw,
        charging_h=2.0,
        rating_kw=rating,
        rating_share=mean_kw / rating,
        user_visits=9.0,
        user_mean_kw_median=driver,
        station_visits=50.0,
        station_mean_kw_median=station,
    )
    why, named = reasons(row, {"mean_kw": 1.0}, [(Cause.DERATING, 0.9), (Cause.OVER_RATING, 0.1)])
    assert (named == Cause.DERATING) == bool(said)
    assert said in why[0].text
    assert not any(reason.cause == Cause.OVER_RATING for reason in why)


def test_a_larger_budget_finds_more_and_keeps_what_a_smaller_one_found() -> None:
    found = [
        {f.session_id for f in DETECTOR.with_budget(budget).detect(LATER, NO_INPUTS) if f.p_value is not None}
        for budget in (0.2, 2.0, 20.0)
    ]
    assert found[0] <= found[1] <= found[2]
    assert len(found[0]) < len(found[2])


def test_station_weeks_leave_out_the_time_a_site_is_closed() -> None:
    start = datetime(2019, 1, 1, tzinfo=UTC)
    rows = pl.DataFrame(
        {
            "site_id": ["s"] * 4,
            "station_id": ["a", "b", "a", "b"],
            "observed_at": [start + timedelta(days=d) for d in (0, 7, 300, 307)],
        }
    )
    assert station_weeks(rows) == pytest.approx(2 * 3.0)
    assert station_weeks(rows.clear()) == 0.0


def test_a_saved_detector_finds_the_same_and_has_the_same_bytes() -> None:
    store, again = Shelf(), Shelf()
    assert not has_detector(store)
    save_detector(DETECTOR, store)
    loaded = load_detector(store)
    save_detector(loaded, again)
    rows = pl.concat([LATER, changed(session_id="slow", energy_delivered_kwh=4.2)])
    assert loaded.detect(rows, NO_INPUTS) == DETECTOR.detect(rows, NO_INPUTS)
    assert [store.get(n) for n in store.names()] == [again.get(n) for n in again.names()]
    assert has_detector(store)
    assert loaded.trained_until_at == DETECTOR.trained_until_at == visits(600)["available_at"].max()


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        (ARRAY_FILE, b"PK", ModelError),
        (HISTORY_FILE, b"{}", ModelError),
        (MANIFEST, b"{", ModelError),
        (MANIFEST, b"\xff", ModelError),
        (MANIFEST, None, SpecMismatchError),
    ],
)
def test_a_damaged_detector_is_refused(name: str, content: bytes | None, error: type[Exception]) -> None:
    store = Shelf()
    with pytest.raises(ModelNotFoundError):
        load_detector(store)
    save_detector(DETECTOR, store)
    store.put(name, store.get(name).replace(b'"overstay_h",', b"") if content is None else content)
    with pytest.raises(error, match="Train the detector again"):
        load_detector(store)
