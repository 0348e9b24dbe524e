"""One step of detection: messages in; findings, scores, dead letters and the changelog of it all out.

A step reads nothing but its arguments and the board. What it leaves on the board before its outputs are committed is
either folded again from them, or forgotten with the board.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Final

from msgspec import structs

from plugcast.domain import topics
from plugcast.domain.messages import Heartbeat, Message, MeterValues, SessionEnded, SessionStarted, SessionUpdated
from plugcast.domain.outgoing import FindingRaised, Outgoing, SessionScored, encode_outgoing
from plugcast.domain.rejected import Rejected, RejectReason
from plugcast.domain.wire import decode
from plugcast.ports import Entry
from plugcast.services.stream.board import NEVER, Board
from plugcast.services.stream.changelog import (
    Change,
    Declared,
    Ended,
    EventsTold,
    Progress,
    StationEpisodes,
    decode_change,
    encode_change,
)
from plugcast.services.stream.refusing import dead_letter
from plugcast.services.stream.steps import Step

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from plugcast.anomaly.detector import Detector
    from plugcast.domain.finding import Finding
    from plugcast.ports import Stored

GRACE: Final = timedelta(minutes=10)
"""How long after midnight a partition's records of the day before are waited for."""
MAX_DECLARED: Final = 100_000
"""Running sessions with declarations, for each partition; of more the oldest are dropped."""
DECLARATIONS_KEPT: Final = 8
"""Of one session, the earliest: norms ask for the first that was known, and a state has a bound."""


class Detecting:
    """Turns batches of station data into findings; the engine reads, commits and folds.

    Args:
        detector: A trained one.
        time_zone: Of the local days.
        partitions: Of the input.
        grace: How long after midnight, in event time, records of the day before are waited for.
    """

    def __init__(
        self, detector: Detector, *, time_zone: str, partitions: int = topics.PARTITIONS, grace: timedelta = GRACE
    ) -> None:
        self.board = Board(detector, time_zone=time_zone, partitions=partitions)
        self._grace = grace

    @property
    def follows(self) -> bool:
        """Findings of one partition rest on the history and the day's account of all."""
        return True

    def hold(self, parts: Collection[int]) -> None:
        """Nothing to do: it knows all partitions, whoever holds them."""

    def apply(self, stored: Stored) -> None:
        """Fold one entry of the changelog."""
        if stored.value is None:
            self.board.drop(stored.partition, stored.key)
        else:
            self.board.apply(stored.partition, decode_change(stored.value))

    def settle(self) -> None:
        """The changelog has been read to its end: close the days that are over."""
        self.board.close_days()

    def step(
        self, entries: Sequence[Stored], *, held: Collection[int], now: datetime, idle: Collection[int] = ()
    ) -> Step:
        """Take a batch.

        Args:
            entries: Of the held partitions, in order within each.
            held: Partitions that are this detector's to judge.
            now: The clock: instants far ahead of it are refused, and none moves a partition beyond it.
            idle: Held partitions without a message for so long that they shall not keep the others waiting.
        """
        made = Step()
        batch = _Batch(self.board, made, now)
        for stored in entries:
            batch.take(stored)
        for part in idle:
            batch.event_at[part] = max(batch.event_at[part], *(other.event_at for other in self.board.parts))
        for part in sorted(held):
            self._judge(part, batch)
        if 0 in held:
            self._tell_events(made)
        return made

    def _judge(self, part: int, batch: _Batch) -> None:
        """Judge what can be judged of a partition, and say how far it has come."""
        board, made = self.board, batch.made
        waiting = board.parts[part].waiting | batch.ended[part]
        trained_until = board.detector.trained_until_at or NEVER
        ready: list[Ended] = []
        left: list[datetime] = []
        for key, ended in waiting.items():
            if ended.known_at <= trained_until:
                done = structs.replace(ended, detector_version=board.detector.version)
                made.add(topics.DETECTOR_STATE, _changed(done, part))
                made.counts["trained"] += 1
            elif board.is_open(ended):
                ready.append(ended)
            else:
                left.append(ended.known_at)
                if key in batch.ended[part]:
                    made.add(topics.DETECTOR_STATE, _changed(ended, part))
        ready.sort(key=lambda ended: ended.order)
        for _, group in groupby(ready, key=lambda ended: board.day_of(ended.known_at)):
            self._judge_day(part, list(group), made)
        made.waiting += len(left)
        self._progress(part, batch, min(left, default=None))

    def _judge_day(self, part: int, ended: Sequence[Ended], made: Step) -> None:
        board = self.board
        for one in ended:
            board.history.observe(one.session, one.declared, available_at=one.known_at)
        rows = [board.history.features(one.session, one.declared, available_at=one.known_at) for one in ended]
        stations = sorted({(row.site_id, row.station_id) for row in rows})
        before = {station: board.watch.episodes_of(*station) for station in stations}
        found, judgements = board.watch.judge_open(rows)
        for station in stations:
            episodes = board.watch.episodes_of(*station)
            if episodes != before[station]:
                change = StationEpisodes(site_id=station[0], station_id=station[1], open=episodes)
                made.add(topics.DETECTOR_STATE, _changed(change, part))
        by_session: dict[tuple[str, str], str] = {}
        for finding in found:
            by_session.setdefault((finding.site_id, finding.session_id), finding.by)
            _tell(finding, made)
        # judge_open gives judgements in the order in which the sessions were sorted: that of their records
        for one, judgement in zip(ended, judgements, strict=True):
            version = board.detector.version
            judged = structs.replace(one, detector_version=version, judgement=judgement)
            made.add(topics.DETECTOR_STATE, _changed(judged, part))
            score = SessionScored(
                v=1,
                session_id=judgement.session_id,
                site_id=judgement.site_id,
                station_id=judgement.station_id,
                observed_at=judgement.observed_at,
                score=judgement.score,
                p_value=judgement.p_value_of_day,
                by=by_session.get((judgement.site_id, judgement.session_id)),
                detector_version=version,
            )
            key = topics.session_key(score.site_id, score.session_id)
            made.add(topics.SCORES, Entry(key, encode_outgoing(score)))
        made.counts["judged"] += len(judgements)

    def _progress(self, part: int, batch: _Batch, first_left: datetime | None) -> None:
        before, event_at = self.board.parts[part], batch.event_at[part]
        judged_until = event_at - self._grace if event_at > NEVER + self._grace else NEVER
        if first_left is not None:
            judged_until = min(judged_until, first_left)
        judged_until = max(judged_until, before.judged_until)
        if (event_at, judged_until) != (before.event_at, before.judged_until):
            change = Progress(event_at=event_at, judged_until=judged_until)
            batch.made.add(topics.DETECTOR_STATE, _changed(change, part))
            batch.made.more = batch.made.more or first_left is not None

    def _tell_events(self, made: Step) -> None:
        untold = self.board.untold()
        for found in untold.values():
            for finding in found:
                _tell(finding, made)
        if untold:
            made.add(topics.DETECTOR_STATE, _changed(EventsTold(day=max(untold)), 0))


class _Batch:
    """The messages of one step, on top of the board."""

    def __init__(self, board: Board, made: Step, now: datetime) -> None:
        self.made = made
        self.event_at = [part.event_at for part in board.parts]
        self.ended: list[dict[bytes, Ended]] = [{} for _ in board.parts]
        self._board = board
        self._now = now

    def take(self, stored: Stored) -> None:
        """One message: state changes, or a dead letter."""
        self.made.positions[stored.topic, stored.partition] = stored.offset + 1
        self.made.counts["messages"] += 1
        content = stored.value or b""
        source = f"{stored.topic}-{stored.partition}"
        message = decode(content, now=self._now, source=source, row=stored.offset + 1)
        if isinstance(message, Rejected):
            self._refuse(stored, message)
            return
        match message:
            case SessionUpdated():
                self._declared(stored.partition, message)
            case SessionEnded():
                self._ended(stored, message)
            case _:
                pass
        at = min(_event_at(message), self._now)
        self.event_at[stored.partition] = max(self.event_at[stored.partition], at)

    def _refuse(self, stored: Stored, rejected: Rejected) -> None:
        self.made.counts[f"rejected_{rejected.reason}"] += 1
        self.made.add(topics.DEAD_LETTERS, dead_letter(stored, rejected))

    def _declared(self, partition: int, message: SessionUpdated) -> None:
        declared = self._board.parts[partition].declared
        before, new = declared.get(message.session_id, ()), message.user_input()
        if new in before:
            self.made.counts["duplicates"] += 1
            return
        said = (*before, new)
        if len(said) > DECLARATIONS_KEPT:
            said = tuple(sorted(said, key=lambda one: one.available_at)[:DECLARATIONS_KEPT])
            self.made.counts["declarations_dropped"] += 1
            if said == before:
                return
        # folded again from the changelog, to the same value
        declared[message.session_id] = said
        self.made.add(
            topics.DETECTOR_STATE, _changed(Declared(session_id=message.session_id, declared=said), partition)
        )
        if len(declared) > MAX_DECLARED:
            self._forget(partition, next(iter(declared)))

    def _forget(self, partition: int, session_id: str) -> None:
        if self._board.parts[partition].declared.pop(session_id, None) is not None:
            key = Declared(session_id=session_id, declared=()).key
            self.made.add(topics.DETECTOR_STATE, Entry(key, None, partition))

    def _ended(self, stored: Stored, message: SessionEnded) -> None:
        part, session = stored.partition, message.session()
        declared = self._board.parts[part].declared.get(session.session_id, ())
        ended = Ended(session=session, declared=declared, known_at=message.known_at)
        known = self._known(part, ended)
        if known is not None:
            if known:
                self.made.counts["duplicates"] += 1
            else:
                detail = (
                    f"{session.session_id}: a session_ended with other values was taken before; it stands. A file sent "
                    "again in another time zone does this."
                )
                self._refuse(
                    stored,
                    Rejected(
                        source=f"{stored.topic}-{part}",
                        row=stored.offset + 1,
                        reason=RejectReason.CONFLICTING_DUPLICATE,
                        detail=detail,
                    ),
                )
            return
        floor = self._board.floor(part, session)
        if ended.known_at < floor:
            self.made.counts["late"] += 1
            ended = structs.replace(ended, known_at=floor)
        self.ended[part][ended.key] = ended
        self._forget(part, session.session_id)

    def _known(self, part: int, ended: Ended) -> bool | None:
        here = self.ended[part].get(ended.key)
        return self._board.knows(ended) if here is None else here.session == ended.session


def _event_at(message: Message) -> datetime:
    """When what the message tells happened."""
    match message:
        case SessionStarted():
            return message.arrival_at
        case SessionUpdated():
            return message.available_at
        case SessionEnded():
            return message.known_at
        case MeterValues():
            return message.measured_at
        case Heartbeat():
            return message.sent_at
        case _:
            return message.timestamp


def _changed(change: Change, partition: int) -> Entry:
    return Entry(change.key, encode_change(change), partition)


def _tell(finding: Finding, made: Step) -> None:
    message: Outgoing = FindingRaised.of(finding)
    made.add(topics.FINDINGS, Entry(topics.station_key(finding.site_id, finding.station_id), encode_outgoing(message)))
    made.counts[f"findings_{finding.severity}"] += 1


__all__ = ["GRACE", "Detecting"]
