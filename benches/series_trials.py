"""One site, one seed: sound and faulty meter values of the later part, and what each detector says of them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import polars as pl
from benches.anomaly_trials import ZONE
from sklearn.metrics import roc_auc_score

from plugcast.anomaly.series_norms import SeriesNorms
from plugcast.anomaly.series_rules import check_series
from plugcast.domain.session import Session
from plugcast.features.series import series_features
from plugcast.features.sessions import rows_of
from plugcast.schemas import SESSIONS
from plugcast.services.detection import train_detector
from plugcast.simulate.inject_series import KIND, Faulty, break_series
from plugcast.simulate.meter_series import Wiring, meter_series
from plugcast.simulate.series_breaks import SeriesFault

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray

    from plugcast.anomaly.detector import Detector
    from plugcast.anomaly.series_rules import SeriesBroken
    from plugcast.features.series_values import SeriesFeatures
    from plugcast.features.sessions import SessionFeatures
    from plugcast.simulate.meter_series import MeterSeries

    Floats = NDArray[np.float64]

WIRINGS = (
    Wiring(voltage_v=208.0, sample_s=60.0),
    Wiring(voltage_v=208.0, sample_s=20.0, register_step_kwh=0.01),
    Wiring(voltage_v=230.0, phases=3, sample_s=60.0),
    Wiring(voltage_v=208.0, sample_s=300.0, register_step_kwh=0.1),
    Wiring(voltage_v=208.0, sample_s=60.0, tells=frozenset()),
)
"""Stations differ: how often they report, how finely they count, how many phases, and whether more than current."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One session of the later part with its meter values."""

    row: SessionFeatures
    series: SeriesFeatures
    broken: tuple[SeriesBroken, ...]
    fault: str | None
    cause: str | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeriesTrial:
    """What was made of one site, and the record-only detector's word on the same sessions."""

    site: str
    seed: int
    detector: Detector
    ordinary: tuple[SeriesFeatures, ...]
    """Sound series of the training period's newest sessions."""
    ordinary_rows: tuple[SessionFeatures, ...]
    seen: tuple[Seen, ...]
    records: Floats
    """Evidence of the detector that knows records only."""

    @property
    def faulty(self) -> NDArray[np.bool_]:
        """Where a fault was put in."""
        return np.array([one.fault is not None for one in self.seen], dtype=np.bool_)

    def of_type(self, fault: str) -> NDArray[np.bool_]:
        """Where this one was."""
        return np.array([one.fault == fault for one in self.seen], dtype=np.bool_)


def wiring_of(station_id: str) -> Wiring:
    """Always the same for one station."""
    return WIRINGS[zlib.crc32(station_id.encode()) % len(WIRINGS)]


def prepare_series(
    site: str,
    read: tuple[pl.DataFrame, pl.DataFrame],
    *,
    split: datetime,
    end: datetime,
    seed: int,
    clean: int = 800,
    per_type: int = 25,
) -> SeriesTrial:
    """Train before the split; make series for what comes until the end, faults in some of them."""
    sessions, inputs = read
    sessions = sessions.filter(pl.col("available_at") < end)
    train = sessions.filter(pl.col("available_at") < split)
    detector = train_detector(train, inputs, time_zone=ZONE, seed=seed)
    rng = np.random.default_rng(seed)
    newest = train.sort("available_at").tail(3 * clean // 2)
    known = {row.session_id: row for row in rows_of(detector.features(train, inputs))}
    ordinary = [(known[s.session_id], f) for s, f in _sound(newest, clean, rng)]
    ordinary.sort(key=lambda pair: (pair[0].observed_at, pair[0].session_id))
    later = sessions.filter(pl.col("available_at") >= split)
    hosts = _drawn(later, rng)
    made, faults = _made(hosts, clean, per_type, rng)
    changed = {each.session.session_id: each.session for each in faults}
    features = detector.features(_with(later, changed), inputs)
    seen, records = _seen(detector, features, made, faults, ordinary)
    return SeriesTrial(
        site=site,
        seed=seed,
        detector=detector,
        ordinary=tuple(f for _, f in ordinary),
        ordinary_rows=tuple(r for r, _ in ordinary),
        seen=seen,
        records=records,
    )


def recall_at(faulty: Floats, ordinary: Floats, share: float = 0.01) -> float:
    """Of the faulty, those above all but this share of the ordinary."""
    return float((faulty > np.quantile(ordinary, 1 - share)).mean())


def auroc(faulty: Floats, ordinary: Floats) -> float:
    """One of the faulty against one of the ordinary."""
    return float(roc_auc_score(np.repeat([1, 0], [len(faulty), len(ordinary)]), np.concatenate([faulty, ordinary])))


def _drawn(frame: pl.DataFrame, rng: np.random.Generator) -> list[Session]:
    rows = [Session(**row) for row in frame.drop("available_at").iter_rows(named=True)]
    return [rows[place] for place in rng.permutation(len(rows))]


def _sound(frame: pl.DataFrame, count: int, rng: np.random.Generator) -> list[tuple[Session, SeriesFeatures]]:
    found: list[tuple[Session, SeriesFeatures]] = []
    for session in _drawn(frame, rng):
        series = meter_series(session, wiring=wiring_of(session.station_id), rng=rng)
        if series is not None:
            found.append((session, folded(session, series)))
        if len(found) == count:
            break
    return found


def folded(session: Session, series: MeterSeries) -> SeriesFeatures:
    """As the stream would."""
    return series_features(session.session_id, series.values(session), departure_at=session.departure_at)


def _made(
    hosts: list[Session], clean: int, per_type: int, rng: np.random.Generator
) -> tuple[dict[str, SeriesFeatures], list[Faulty]]:
    """Series of the sound, and faults: each host is used once."""
    made: dict[str, SeriesFeatures] = {}
    faults: list[Faulty] = []
    waiting = iter(hosts)
    earlier: dict[str, list[MeterSeries]] = {}
    for session in waiting:
        series = meter_series(session, wiring=wiring_of(session.station_id), rng=rng)
        if series is None:
            continue
        made[session.session_id] = folded(session, series)
        earlier.setdefault(session.station_id, []).append(series)
        if len(made) == clean:
            break
    missing = dict.fromkeys(SeriesFault, per_type)
    for session in waiting:
        series = meter_series(session, wiring=wiring_of(session.station_id), rng=rng)
        if series is None:
            continue
        for fault in sorted(missing, key=lambda kind: -missing[kind]):
            before = [one for one in earlier.get(session.station_id, ()) if one.at_us[-1] < series.at_us[0]]
            last = max(before, key=lambda one: int(one.at_us[0]), default=None)
            faulty = break_series(fault, session, series, rng, earlier=last)
            if faulty is not None and missing[fault] > 0:
                missing[fault] -= 1
                faults.append(faulty)
                made[session.session_id] = folded(faulty.session, faulty.series)
                break
        if not any(missing.values()):
            break
    return made, faults


def _with(frame: pl.DataFrame, changed: dict[str, Session]) -> pl.DataFrame:
    rows = [msgspec.structs.asdict(s) | {"available_at": s.departure_at} for s in changed.values()]
    faulty = pl.DataFrame(rows, schema=dict(SESSIONS), orient="row")
    kept = frame.select(list(SESSIONS)).filter(~pl.col("session_id").is_in(list(changed)))
    return pl.concat([kept, faulty]).sort("arrival_at", "session_id")


def _seen(
    detector: Detector,
    features: pl.DataFrame,
    made: dict[str, SeriesFeatures],
    faults: list[Faulty],
    ordinary: list[tuple[SessionFeatures, SeriesFeatures]],
) -> tuple[tuple[Seen, ...], Floats]:
    norms = SeriesNorms()
    label = {each.session.session_id: each.fault for each in faults}
    kept = features.filter(pl.col("session_id").is_in(list(made)))
    rows = rows_of(kept)
    total = detector.scored(rows).total
    for known, series in ordinary:
        norms.judge(series, known)
    past = {}
    for row in sorted(rows, key=lambda row: (row.observed_at, row.session_id)):
        past[row.session_id] = norms.judge(made[row.session_id], row)
    seen = tuple(
        Seen(
            row=row,
            series=made[row.session_id],
            broken=check_series(made[row.session_id], row) + past[row.session_id],
            fault=label.get(row.session_id),
            cause=_cause(label.get(row.session_id)),
        )
        for row in rows
    )
    return seen, np.nan_to_num(total)


def _cause(fault: SeriesFault | None) -> str | None:
    from plugcast.simulate.faults import FAULTS  # noqa: PLC0415 - beside its only use

    return None if fault is None else FAULTS[KIND[fault]].cause.value
