"""The same pipeline as others write it: LightGBM, scikit-learn, aiokafka one by one; FastStream, singly and in batches.

They get the same features from the product's own fold of one vehicle, the same trees and as many isolation trees, and
promise less: no transaction, no state that outlives them.
"""

from __future__ import annotations

import asyncio
import json
import time
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from plugcast.domain import topics
from plugcast.domain.messages import Message, Telemetry
from plugcast.features.history import Past, same_day_type
from plugcast.features.online import OnlineFeatures, micros
from plugcast.features.spec import FeatureSpec
from plugcast.features.zone_clock import ZoneClock
from plugcast.forecast.lead_columns import lead_columns

WAYS: Final = ("aiokafka one by one", "FastStream one by one", "FastStream in batches")
NEEDED: Final = {"aiokafka": "aiokafka", "FastStream": "faststream"}
LEAD_MIN: Final = 15.0
ISOLATION_TREES: Final = 100


class Peer:
    """Features and models behind a plain call."""

    def __init__(self, folder: Path) -> None:
        lightgbm = import_module("lightgbm")
        ensemble = import_module("sklearn.ensemble")
        self._plug = lightgbm.Booster(model_file=str(folder / "plug_model.txt"))
        self._energy = lightgbm.Booster(model_file=str(folder / "energy_model.txt"))
        rows = np.load(folder / "unlike_rows.npy").astype(np.float64)
        self._median = np.nan_to_num(np.nanmedian(np.where(np.isnan(rows).all(axis=0), 0.0, rows), axis=0))
        self._forest = ensemble.IsolationForest(n_estimators=ISOLATION_TREES, random_state=42, n_jobs=1)
        self._forest.fit(self._filled(rows))
        self._spec = FeatureSpec()
        self._clock = ZoneClock(self._spec.time_zone)
        self._folds: dict[str, OnlineFeatures] = {}
        self._decode: Any = import_module("msgspec").json.Decoder(Message).decode

    def answer(self, values: list[bytes]) -> list[tuple[bytes, bytes]]:
        """Keys and forecasts of some messages."""
        messages: list[Telemetry] = [self._decode(value) for value in values]
        matrix = np.vstack([self._row(message) for message in messages])
        chance = self._plug.predict(matrix, num_threads=1)
        change = self._energy.predict(matrix, num_threads=1)
        unlike = -self._forest.score_samples(self._filled(matrix.astype(np.float64)))
        made = []
        for message, plug, need, odd in zip(messages, chance, change, unlike, strict=True):
            left = 100.0 - (np.nan if message.soc is None else message.soc)
            body = {
                "type": "forecast",
                "v": 1,
                "asset_id": message.asset_id,
                "issued_at": message.timestamp.isoformat(),
                "plug_probability": float(plug),
                "energy_to_full_pct": float(np.clip(left + need, 0.0, 100.0)),
                "unlike": float(odd),
            }
            made.append((message.asset_id.encode(), json.dumps(body).encode()))
        return made

    def _filled(self, matrix: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(matrix), self._median, matrix)

    def _row(self, message: Telemetry) -> np.ndarray:
        fold = self._folds.setdefault(message.asset_id, OnlineFeatures(self._spec))
        row = fold.push(message.sample())
        if row is None:
            raise RuntimeError(f"a late sample: {message}")
        hour, day = self._clock.local(np.array([micros(message.timestamp)]) + 900_000_000)
        at = day * 24 + hour.astype(np.int64)
        own = _past(fold.past([int(at[0])]))
        alike = _past(fold.past([one for one in same_day_type(at)[0].tolist() if one < 168]))  # noqa: PLR2004 - a week
        return np.hstack([row, lead_columns(np.array([LEAD_MIN]), hour, day, own, alike)[0]])


def _past(counts: tuple[int, int, int, int]) -> Past:
    one = [np.array([count]) for count in counts]
    return Past(samples=one[0], plugged=one[1], with_soc=one[2], soc_milli=one[3])


class _Meter:
    """CPU time from the end of the warm-up to the last message."""

    def __init__(self, messages: int, warm: float) -> None:
        self._messages, self._warm = messages, round(messages * warm)
        self._begun = 0, time.process_time(), time.monotonic()
        self.seen = 0
        self.found: dict[str, Any] = {}

    def took(self, count: int) -> bool:
        """Count messages that are done; says whether it is over."""
        self.seen += count
        if not self._begun[0] and self._warm <= self.seen < self._messages:
            self._begun = self.seen, time.process_time(), time.monotonic()
        if self.seen >= self._messages and not self.found:
            seen, cpu_s, wall_s = self._begun
            self.found = {
                "messages": self.seen - seen,
                "cpu_s": time.process_time() - cpu_s,
                "wall_s": time.monotonic() - wall_s,
            }
        return bool(self.found)


async def run(
    way: str, *, folder: str, servers: str, prefix: str, messages: int, batch: int, warm: float
) -> dict[str, Any]:
    """One of WAYS over Kafka until so many messages are answered."""
    peer, meter = Peer(Path(folder)), _Meter(messages, warm)
    if way == WAYS[0]:
        await _aiokafka(peer, meter, servers, prefix)
    else:
        await _faststream(peer, meter, servers, prefix, batch=batch if way == WAYS[2] else None)
    return meter.found


async def _aiokafka(peer: Peer, meter: _Meter, servers: str, prefix: str) -> None:
    client = import_module("aiokafka")
    consumer = client.AIOKafkaConsumer(
        prefix + topics.TELEMETRY,
        bootstrap_servers=servers,
        group_id=f"{prefix}one-by-one",
        auto_offset_reset="earliest",
    )
    producer = client.AIOKafkaProducer(bootstrap_servers=servers, acks="all")
    await consumer.start()
    await producer.start()
    try:
        async for message in consumer:
            for key, value in peer.answer([message.value]):
                await producer.send_and_wait(prefix + topics.FORECASTS, value, key=key)
            if meter.took(1):
                return
    finally:
        await consumer.stop()
        await producer.stop()


async def _faststream(peer: Peer, meter: _Meter, servers: str, prefix: str, *, batch: int | None) -> None:
    broker = import_module("faststream.kafka").KafkaBroker(servers, acks="all", logger=None)
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    source, target = prefix + topics.TELEMETRY, prefix + topics.FORECASTS
    settings = {"group_id": f"{prefix}faststream", "auto_offset_reset": "earliest"}

    async def answer(contents: list[bytes], *, confirm: bool) -> None:
        try:
            for key, value in peer.answer(contents):
                await broker.publish(value, target, key=key, no_confirm=not confirm)
            if meter.took(len(contents)) and not done.done():
                done.set_result(None)
        except Exception as error:
            if not done.done():
                done.set_exception(error)
            raise

    async def one(content: bytes) -> None:
        await answer([content], confirm=True)

    async def many(contents: list[bytes]) -> None:
        await answer(contents, confirm=False)

    if batch is None:
        broker.subscriber(source, decoder=_raw, **settings)(one)
    else:
        broker.subscriber(source, batch=True, max_records=batch, decoder=_raw_many, **settings)(many)
    await broker.start()
    try:
        await done
    finally:
        await broker.stop()


async def _raw(message: Any) -> bytes:  # noqa: ANN401 - FastStream's own message
    """The bytes as they are."""
    body: bytes = message.body
    return body


async def _raw_many(message: Any) -> list[bytes]:  # noqa: ANN401 - FastStream's own message
    """The same of a batch."""
    return list(message.body)
