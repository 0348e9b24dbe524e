"""Data in and out: sources of sessions, telemetry and prices, stores, time, and commands to stations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from datetime import datetime

    import polars as pl

    from plugcast.domain.rejected import Rejected
    from plugcast.domain.site import Tariff


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The bookkeeping of a read; ``accepted + rejected + duplicates == read`` always holds."""

    read: int
    accepted: int
    rejected: int
    duplicates: int

    def __post_init__(self) -> None:
        """Refuse books that do not balance."""
        if self.accepted + self.rejected + self.duplicates != self.read:
            raise ValueError(f"unbalanced counts: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsRead:
    """What a source of sessions gave."""

    sessions: pl.DataFrame
    """``schemas.SESSIONS``, ordered by arrival, then id."""
    user_inputs: pl.DataFrame
    """``schemas.USER_INPUTS``, ordered by session, then availability."""
    rejected: tuple[Rejected, ...] = ()
    duplicates: int = 0
    counts: Counts = field(init=False)

    def __post_init__(self) -> None:
        """Balance the books."""
        object.__setattr__(self, "counts", _balance(self.sessions, self.rejected, self.duplicates))


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryRead:
    """What a source of telemetry gave."""

    samples: pl.DataFrame
    """``schemas.TELEMETRY`` and any further columns, ordered by asset, then availability, then timestamp."""
    rejected: tuple[Rejected, ...] = ()
    duplicates: int = 0
    counts: Counts = field(init=False)

    def __post_init__(self) -> None:
        """Balance the books."""
        object.__setattr__(self, "counts", _balance(self.samples, self.rejected, self.duplicates))


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterRead:
    """What a source of meter values gave."""

    values: pl.DataFrame
    """``schemas.METER_VALUES``, in the order in which they came."""
    rejected: tuple[Rejected, ...] = ()
    counts: Counts = field(init=False)

    def __post_init__(self) -> None:
        """Balance the books."""
        object.__setattr__(self, "counts", _balance(self.values, self.rejected, 0))


def _balance(accepted: pl.DataFrame, rejected: Sequence[Rejected], duplicates: int) -> Counts:
    return Counts(
        read=accepted.height + len(rejected) + duplicates,
        accepted=accepted.height,
        rejected=len(rejected),
        duplicates=duplicates,
    )


@runtime_checkable
class Clock(Protocol):
    """What time it is. Never goes backwards within one process."""

    def now(self) -> datetime:
        """The current instant, UTC-aware."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait by this clock: a replaying clock waits less, a manual one until it is moved."""
        ...


@runtime_checkable
class SessionSource(Protocol):
    """Completed and running sessions. Reading is idempotent: the same source gives the same rows."""

    def read(self) -> SessionsRead:
        """Everything the source holds, each session once, with what was refused and why."""
        ...


@runtime_checkable
class TelemetrySource(Protocol):
    """Vehicle samples. Reading is idempotent: the same source gives the same rows."""

    def read(self) -> TelemetryRead:
        """Everything the source holds, with what was refused and why."""
        ...


@runtime_checkable
class MeterSource(Protocol):
    """Samples of stations, in the order in which they came. Reading is idempotent."""

    def read(self) -> MeterRead:
        """Everything the source holds, with what was refused and why."""
        ...


@runtime_checkable
class PriceSource(Protocol):
    """Energy prices. Reading is idempotent."""

    def tariff(self) -> Tariff:
        """The tariff in force."""
        ...


@runtime_checkable
class ArtifactStore(Protocol):
    """Named blobs: models, reports, predictions. A name holds its old content or its new one, never a mixture."""

    def put(self, name: str, content: bytes) -> None:
        """Write atomically; the same name again replaces."""
        ...

    def get(self, name: str) -> bytes:
        """Read one; raises ModelNotFoundError where there is none."""
        ...

    def names(self) -> list[str]:
        """What is there, sorted."""
        ...


@runtime_checkable
class RejectStore(Protocol):
    """Where refused rows are kept with their reasons. Appending the same rows twice keeps them twice."""

    def keep(self, rejected: Iterable[Rejected]) -> int:
        """Append; returns how many were kept."""
        ...

    def kept(self) -> list[Rejected]:
        """Everything kept so far, in order of arrival."""
        ...


@runtime_checkable
class Topic(Protocol):
    """Publish and subscribe inside one site. Order is kept per publisher; a slow subscriber loses the oldest."""

    def publish(self, message: bytes) -> None:
        """Hand a message to every present subscriber; never blocks."""
        ...

    def subscribe(self) -> AsyncIterator[bytes]:
        """Messages from now on."""
        ...


@runtime_checkable
class SetpointSink(Protocol):
    """Takes commands to stations. Idempotent: the last command for a station and time wins."""

    def send(self, station_id: str, power_kw: float, *, until: datetime) -> None:
        """Ask a station to keep to this power until an instant, after which its own default holds."""
        ...
