"""Faults put into real sessions: a labelled benchmark where no labelled faults can be had.

A faulty session takes the place of a real one, its host, and keeps its id, driver and station; everything is drawn
from one seed. Hosts are completed sessions that the fault can happen to: only a car that stood full can overstay.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import polars as pl

from plugcast.schemas import SESSIONS, conform
from plugcast.simulate.faults import FAULTS, FaultType
from plugcast.simulate.inject_sessions import BREAK, Scene, slowed_to

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from plugcast.domain.session import Session

LABELS: Final = {
    "session_id": pl.String(),
    "fault": pl.String(),
    "cause": pl.String(),
    "severity": pl.String(),
    "ocpp_code": pl.String(),
}
HOST_KWH: Final = 1.0
"""Less energy than this shows no fault."""
COLLECTIVE_LEAST: Final = 4
"""Sessions of one site that end on one day, for an event to be collective."""
TRIES: Final = 20
"""Hosts that may be unfit before a fault is given up, for each one wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """Sessions with faults among them, and which those are."""

    sessions: pl.DataFrame
    """``schemas.SESSIONS``: all that were given, the hosts changed, and a few new short ones beside ghosts."""
    labels: pl.DataFrame
    """``LABELS``: one row a faulty session; those not named here are as they were."""

    @property
    def faulty(self) -> pl.DataFrame:
        """The faulty sessions alone."""
        return self.sessions.join(self.labels.select("session_id"), on="session_id", how="semi")


def inject(
    sessions: pl.DataFrame,
    *,
    seed: int,
    per_type: int | Mapping[FaultType, int],
    types: Iterable[FaultType] = tuple(FaultType),
    hosts: pl.Series | None = None,
) -> Injected:
    """Replace sessions by faulty ones; the same seed and sessions give the same.

    Args:
        sessions: ``schemas.SESSIONS``, of one site or several.
        seed: Of hosts and magnitudes.
        per_type: Faults of each type, one number or one for each; fewer where too few sessions can have it.
        types: Which; leave one out to judge a detector on a fault that it never saw.
        hosts: Ids that may be changed; all by default. The others serve as surroundings.

    Raises:
        MissingColumnsError: A column of the schema is absent.
    """
    frame = conform(sessions, SESSIONS, source="sessions").select(list(SESSIONS))
    scene = Scene.of(frame)
    rng = np.random.default_rng(seed)
    allowed = None if hosts is None else set(hosts.to_list())
    fit = [s for s in scene.sessions if _can_host(s) and (allowed is None or s.session_id in allowed)]
    waiting = [fit[place] for place in rng.permutation(len(fit))]
    changed: dict[str, tuple[FaultType, Session]] = {}
    added: list[tuple[FaultType, Session]] = []
    wanted = {fault: per_type if isinstance(per_type, int) else per_type.get(fault, 0) for fault in sorted(types)}
    if wanted.get(FaultType.COLLECTIVE):  # first, while whole days are free
        for host in _days(waiting, wanted[FaultType.COLLECTIVE], rng):
            changed[host.session_id] = (FaultType.COLLECTIVE, host)
        waiting = [host for host in waiting if host.session_id not in changed]
    for fault, count in wanted.items():
        if fault is FaultType.COLLECTIVE:
            continue
        made, waiting = _of_type(fault, waiting, count, scene, rng)
        for host_id, first, further in made:
            changed[host_id] = (fault, first)
            added += [(fault, extra) for extra in further]
    return _put(frame, changed, added)


def _of_type(
    fault: FaultType, waiting: list[Session], count: int, scene: Scene, rng: np.random.Generator
) -> tuple[list[tuple[str, Session, Sequence[Session]]], list[Session]]:
    """Faults of one type, and the hosts that are left."""
    made: list[tuple[str, Session, Sequence[Session]]] = []
    passed: list[Session] = []
    place = 0
    while place < len(waiting) and len(made) < count and place < TRIES * count:
        host = waiting[place]
        place += 1
        faulty = BREAK[fault](host, scene, rng)
        if faulty:
            made.append((host.session_id, faulty[0], faulty[1:]))
        else:
            passed.append(host)
    return made, [*waiting[place:], *passed]


def _days(waiting: Sequence[Session], count: int, rng: np.random.Generator) -> Iterator[Session]:
    """Whole days of a site on which every station delivers a share of its power, until there are enough sessions."""
    days: defaultdict[tuple[str, Any], list[Session]] = defaultdict(list)
    for host in waiting:
        days[host.site_id, host.departure_at.date()].append(host)  # type: ignore[union-attr]
    full = sorted(key for key, hosts in days.items() if len(hosts) >= COLLECTIVE_LEAST)
    told = 0
    for place in rng.permutation(len(full)):
        factor = rng.uniform(0.25, 0.5)
        for host in days[full[place]]:
            slowed = slowed_to(host, factor)
            if slowed:
                told += 1
                yield slowed[0]
        if told >= count:
            return


def _can_host(session: Session) -> bool:
    energy = session.energy_delivered_kwh
    return session.departure_at is not None and energy is not None and math.isfinite(energy) and energy >= HOST_KWH


def _put(
    frame: pl.DataFrame, changed: dict[str, tuple[FaultType, Session]], added: list[tuple[FaultType, Session]]
) -> Injected:
    made = [*changed.values(), *added]
    rows = [
        msgspec.structs.asdict(session)
        | {"available_at": session.departure_at if session.departure_at is not None else session.arrival_at}
        for _, session in made
    ]
    faulty = pl.DataFrame(rows, schema=dict(SESSIONS), orient="row")
    labels = [
        {
            "session_id": session.session_id,
            "fault": fault.value,
            "cause": FAULTS[fault].cause.value,
            "severity": FAULTS[fault].severity.value,
            "ocpp_code": FAULTS[fault].ocpp_code,
        }
        for fault, session in made
    ]
    kept = frame.filter(~pl.col("session_id").is_in(list(changed)))
    return Injected(
        sessions=pl.concat([kept, faulty]).sort("arrival_at", "session_id"),
        labels=pl.DataFrame(labels, schema=LABELS).sort("session_id"),
    )
