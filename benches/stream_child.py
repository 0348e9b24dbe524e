"""One pipeline in a process of its own, so that its CPU time and memory are nobody else's: ``python -m`` with a job.

CPU time is the whole process's, threads of the clients included; the broker's is not in it.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final

from benches import stream_peers
from benches.stream_case import fill, open_bench_log

from plugcast.adapters.clock import SystemClock
from plugcast.adapters.files import LocalArtifacts
from plugcast.domain import topics
from plugcast.services.live_models import load_live
from plugcast.services.stream.engine import Engine
from plugcast.services.stream.forecasting import Forecasting

if TYPE_CHECKING:
    from plugcast.ports import Log

WARM_SHARE: Final = 0.2
"""The first messages are not counted: joining, caches, the first sample of each vehicle."""
MOMENT_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a child is to do."""

    way: str
    """``plugcast``, ``serve`` (until stdin ends), or a name of ``stream_peers.WAYS``."""
    folder: str
    servers: str | None
    prefix: str
    messages: int
    batch: int
    memory_file: str = ""
    """Messages for a log in memory, where there is no broker."""


def engine_over(log: Log, job: Job) -> Engine:
    """The product's engine, as ``plugcast serve forecast`` makes it."""
    models = load_live(LocalArtifacts(Path(job.folder)))
    return Engine(
        make_worker=lambda: log.worker("forecasters", [topics.TELEMETRY]),
        make_reader=lambda: log.reader(topics.FORECASTER_STATE),
        make_processor=lambda: Forecasting(models),
        clock=SystemClock(),
        batch=job.batch,
    )


def plugcast(job: Job) -> dict[str, Any]:
    """Until so many messages are committed."""
    log = open_bench_log(job.servers, job.prefix)
    if job.servers is None:
        fill(log, [(k.encode(), v.encode()) for k, v in json.loads(Path(job.memory_file).read_text(encoding="utf-8"))])
    engine = engine_over(log, job)
    warm = round(job.messages * WARM_SHARE)
    while engine.counts["messages"] < warm:
        engine.step(wait_s=MOMENT_S)
    begun, cpu_s, wall_s = engine.counts["messages"], time.process_time(), time.monotonic()
    while engine.counts["messages"] < job.messages:
        engine.step(wait_s=MOMENT_S)
    cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - wall_s
    done, forecasts = engine.counts["messages"] - begun, engine.counts["forecasts"]
    engine.close()
    if forecasts != job.messages:
        raise RuntimeError(f"wanted {job.messages:,} forecasts, found {forecasts:,}: {engine.counts}")
    return {"messages": done, "cpu_s": cpu_s, "wall_s": wall_s}


def serve(job: Job) -> dict[str, Any]:
    """Until stdin ends; tells its memory every second."""
    engine, stop = engine_over(open_bench_log(job.servers, job.prefix), job), Event()
    working = Thread(target=engine.run, args=(stop,))
    working.start()
    Thread(target=_wait_for_end, args=(stop,), daemon=True).start()
    memory_mb = [_resident_mb()]
    cpu_s, wall_s = time.process_time(), time.monotonic()
    while not stop.wait(MOMENT_S):
        memory_mb.append(_resident_mb())
    working.join()
    counts = dict(engine.counts)
    return {
        "messages": counts.get("messages", 0),
        "counts": counts,
        "cpu_s": time.process_time() - cpu_s,
        "wall_s": time.monotonic() - wall_s,
        "memory_mb": memory_mb,
    }


def _wait_for_end(stop: Event) -> None:
    sys.stdin.read()
    stop.set()


def _resident_mb() -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    """Read the job from the arguments, print what it came to as JSON."""
    job = Job(**json.loads(sys.argv[1]))
    if job.way == "plugcast":
        found = plugcast(job)
    elif job.way == "serve":
        found = serve(job)
    else:
        found = asyncio.run(stream_peers.run(job.way, **_peer_arguments(job)))
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps(found) + "\n")


def _peer_arguments(job: Job) -> dict[str, Any]:
    wanted = asdict(job)
    return {name: wanted[name] for name in ("folder", "servers", "prefix", "messages", "batch")} | {"warm": WARM_SHARE}


if __name__ == "__main__":
    main()
