"""The live forecaster through Apache Kafka: messages a second of a core, latency, memory; beside how others write it.

Every pipeline runs in a process of its own, whose whole CPU time counts, its Kafka client's threads included; the
broker's does not. Each message is decoded, checked, turned into features, given two forecasts and an isolation score,
and published; ours also writes its state and its positions in the same transaction.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benches import stream_peers
from benches.registry import ROOT, Bar, BenchSpec, Choice, Outcome, note
from benches.stream_case import Case, drop_topics, kafka_servers, make_case, new_prefix, open_bench_log, send
from benches.stream_live import latency, memory

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS: Final = ("throughput", "latency", "memory")
PER_CORE: Final = 60_000
BATCH: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    vehicles: int
    days: int
    batches: dict[int, int]
    """Messages for each batch size."""
    rounds: int
    others: tuple[str, ...]
    singly: int
    """Messages for those who take one at a time."""
    in_batches: int
    latency_s: float
    rates: tuple[int, ...]
    memory_s: float
    start_kafka: bool


SIZES: Final = {
    "small": _Size(
        vehicles=8,
        days=6,
        batches={BATCH: 3_000},
        rounds=1,
        others=(stream_peers.WAYS[0], stream_peers.WAYS[2]),
        singly=10,
        in_batches=3_000,
        latency_s=2.0,
        rates=(200,),
        memory_s=5.0,
        start_kafka=False,
    ),
    "full": _Size(
        vehicles=200,
        days=14,
        batches={BATCH: 150_000, 5_000: 150_000, 100: 20_000, 1: 200},
        rounds=3,
        others=stream_peers.WAYS,
        singly=150,
        in_batches=5_000,
        latency_s=30.0,
        rates=(1_000, 10_000),
        memory_s=600.0,
        start_kafka=True,
    ),
}


def run(size: str) -> Outcome:
    """All parts."""
    return run_chosen(size, Choice())


def run_chosen(size: str, choice: Choice) -> Outcome:
    """Some parts."""
    wanted = SIZES[size]
    servers = kafka_servers(start=wanted.start_kafka)
    cases: list[dict[str, Any]] = []
    bars: list[Bar] = []
    with tempfile.TemporaryDirectory(prefix="plugcast-bench-") as folder:
        case = make_case(Path(folder), vehicles=wanted.vehicles, days=wanted.days)
        parts: dict[str, Callable[[], tuple[list[dict[str, Any]], list[Bar]]]] = {
            "throughput": lambda: _throughput(case, wanted, servers),
            "latency": lambda: latency(case, servers, rates=wanted.rates, seconds=wanted.latency_s),
            "memory": lambda: memory(case, servers, seconds=wanted.memory_s),
        }
        for part in choice.parts or PARTS:
            if servers is None and part != "throughput":
                note(f"  {part}: left out, PLUGCAST_KAFKA names no broker")
                continue
            found, promised = parts[part]()
            cases += [{"part": part, **one} for one in found]
            bars += promised
    carried = (
        "Apache Kafka, one broker of this machine" if servers else "a log in memory: PLUGCAST_KAFKA names no broker"
    )
    return Outcome(data=f"{case.description}; through {carried}", cases=cases, bars=bars)


def _throughput(case: Case, wanted: _Size, servers: str | None) -> tuple[list[dict[str, Any]], list[Bar]]:
    jobs = [("plugcast", batch, messages) for batch, messages in wanted.batches.items()]
    for way in wanted.others if servers is not None else ():
        if all(find_spec(package) for name, package in stream_peers.NEEDED.items() if way.startswith(name)):
            several = way.endswith("batches")
            jobs.append((way, BATCH if several else 1, wanted.in_batches if several else wanted.singly))
        else:
            note(f"  {way}: left out; scripts/setup bench installs it")
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for number in range(wanted.rounds):
        for way, batch, messages in jobs:
            one = run_once(case, servers, way, batch, messages)
            found.setdefault((way, batch), []).append(one)
            note(f"  round {number + 1} of {wanted.rounds}: {way}, batch {batch}: {one['us']:.1f} us a message")
    cases = [_row(way, batch, ones) for (way, batch), ones in found.items()]
    return cases, _bars(cases) if servers is not None else []


def _row(way: str, batch: int, ones: list[dict[str, Any]]) -> dict[str, Any]:
    us = [one["us"] for one in ones]
    middle = statistics.median(us)
    return {
        "pipeline": way,
        "batch": batch,
        "messages": ones[0]["messages"],
        "cpu_us_per_message": middle,
        "low_us": min(us),
        "high_us": max(us),
        "messages_per_core_s": 1e6 / middle,
        "wall_messages_per_s": statistics.median(one["messages"] / one["wall_s"] for one in ones),
        "peak_mb": max(one["peak_mb"] for one in ones),
    }


def _bars(cases: list[dict[str, Any]]) -> list[Bar]:
    ours = next(one for one in cases if (one["pipeline"], one["batch"]) == ("plugcast", BATCH))
    bars = [
        Bar(
            name="messages a second of a core at batch 1000",
            value=ours["messages_per_core_s"],
            limit=PER_CORE,
            sense="at_least",
        )
    ]
    singly = [one["cpu_us_per_message"] for one in cases if one["pipeline"] == stream_peers.WAYS[0]]
    if singly:
        ratio = singly[0] / ours["cpu_us_per_message"]
        bars.append(Bar(name="times the one-by-one pipeline", value=ratio, limit=100, sense="at_least"))
    return bars


def run_once(case: Case, servers: str | None, way: str, batch: int, messages: int) -> dict[str, Any]:
    """One pipeline over topics of its own, in a child."""
    prefix, count = new_prefix(), min(messages, len(case.messages))
    job = {
        "way": way,
        "folder": str(case.folder),
        "servers": servers,
        "prefix": prefix,
        "messages": count,
        "batch": batch,
    }
    if servers is None:
        file = case.folder / "messages.json"
        content = [(key.decode(), value.decode()) for key, value in case.messages[:count]]
        file.write_text(json.dumps(content), encoding="utf-8")
        job["memory_file"] = str(file)
    else:
        open_bench_log(servers, prefix)
        send(servers, prefix, case.messages[:count])
    done = subprocess.run(
        [sys.executable, "-m", "benches.stream_child", json.dumps(job)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if servers is not None:
        drop_topics(servers, prefix)
    if done.returncode != 0:
        raise RuntimeError(f"{way}, batch {batch}, failed: {done.stderr[-2_000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    found["us"] = found["cpu_s"] / found["messages"] * 1e6
    return found


BENCH = BenchSpec(
    name="stream",
    description="The live forecaster through Kafka: messages a second of a core, latency, memory; and others' way.",
    run=run,
    parts=PARTS,
    run_chosen=run_chosen,
)
