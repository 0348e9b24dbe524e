"""How long will this car stay and how much will it take: learned from all sessions, at plug-in and as it goes on.

Two models stand behind it: one for drivers with a completed visit (``own history``), and one for everybody else, which
looks only at the clock, the site and what was declared (``pooled``). Hours into a visit a third one forecasts what
remains. All forecasts are quantiles at ``QUANTILES``; outcomes may move them later (``forecast.conformal``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from plugcast.domain.forecast import SessionForecast
from plugcast.errors import ModelError, NoUsableRowsError
from plugcast.features.stay_features import POOLED, SITUATION, STAY_COLUMNS, column, stay_features
from plugcast.features.stay_visits import DAY_US
from plugcast.forecast import sessions_fit
from plugcast.forecast.boosting import from_text, to_text
from plugcast.forecast.sessions_fit import MEDIAN, QUANTILES, Ensemble, EnsembleSpec, Frame, Quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugcast.features.stay_visits import StayBook
    from plugcast.ports import ArtifactStore

QUANTITIES: Final[tuple[Quantity, ...]] = ("stay", "energy")
POOLED_COLUMNS: Final = (*SITUATION, *POOLED)
FEWEST_OWN: Final = 200
"""Fewer sessions of returning drivers do not carry a model of their own."""
FEWEST: Final = 100
LONGEST_STAY_H: Final = 30.0
"""Longer stays are learnt as this long: a car left for a week teaches nothing about the others."""
GOING_H: Final = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0)
"""Hours into a visit at which the third model learns, each session at two of them."""
DESCRIPTION: Final = "sessions.json"
FORMAT: Final = 2
_POOLED: Final = [STAY_COLUMNS.index(name) for name in POOLED_COLUMNS]


@dataclass(frozen=True, slots=True, kw_only=True)
class StayQuantiles:
    """Forecasts of n visits at QUANTILES."""

    stay_h: np.ndarray
    """From plug-in, shape (n, 7)."""
    energy_kwh: np.ndarray
    """Of the whole visit, shape (n, 7)."""
    own: np.ndarray
    """Whether the driver's own history was there, shape (n,)."""

    @property
    def basis(self) -> tuple[str, ...]:
        """What each forecast rests on."""
        return tuple("own history" if own else "pooled" for own in self.own)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionForecaster:
    """Trained models; ``own`` and ``going`` are empty where there was too little to learn from."""

    pooled: dict[Quantity, Ensemble]
    own: dict[Quantity, Ensemble] = field(default_factory=dict)
    going: dict[Quantity, Ensemble] = field(default_factory=dict)

    @classmethod
    def fit(
        cls, books: Sequence[StayBook], *, cut_at: datetime, spec: EnsembleSpec | None = None, going: bool = True
    ) -> SessionForecaster:
        """Train on what was complete before ``cut_at`` at one or more sites.

        Raises:
            NoUsableRowsError: Fewer than 100 sessions were complete by then.
        """
        cut_us = int(cut_at.timestamp() * 1e6)
        lessons = [Lessons.of(book, np.flatnonzero(book.known_us < cut_us)) for book in books]
        return cls.learn(lessons, cut_us=cut_us, spec=spec or EnsembleSpec(), going=going)

    @classmethod
    def learn(
        cls, lessons: Sequence[Lessons], *, cut_us: int, spec: EnsembleSpec, going: bool = True, pooled: bool = True
    ) -> SessionForecaster:
        """Train on prepared rows; those not complete before the cut are left aside.

        Without ``pooled`` only the model of returning drivers is trained: what moves fastest, for a refit between.
        """
        known = Lessons.joined([part.before(cut_us) for part in lessons])
        if len(known.row) < FEWEST:
            raise NoUsableRowsError(
                f"Wanted at least {FEWEST} sessions complete before the cut; found {len(known.row)}. "
                "Give a longer history."
            )
        own = known.own
        returning = known.only(own) if own.sum() >= FEWEST_OWN else None
        return cls(
            pooled={q: known.ensemble(q, cut_us, replace(spec, seeds=1), _POOLED) for q in QUANTITIES}
            if pooled
            else {},
            own={q: returning.ensemble(q, cut_us, spec, None) for q in QUANTITIES} if returning else {},
            going=_learn_going(lessons, cut_us, spec) if going else {},
        )

    @classmethod
    def learn_remaining_stay(cls, lessons: Sequence[Lessons], *, cut_us: int, spec: EnsembleSpec) -> SessionForecaster:
        """The third model's stay alone, for those who ask nothing else."""
        return cls(pooled={}, going=_learn_going(lessons, cut_us, spec, ("stay",)))

    def remaining_h(self, matrix: np.ndarray) -> np.ndarray:
        """Quantiles of the hours left, from features some hours into the visit; shape (n, 7).

        Raises:
            ModelError: The model was trained without this part.
        """
        if "stay" not in self.going:
            raise ModelError("This model knows plug-in alone: it was trained with going=False. Train again.")
        return self.going["stay"].predict(matrix)

    def at_plug_in(self, book: StayBook, row: np.ndarray) -> StayQuantiles:
        """Quantiles for sessions of the book as of their plug-in and grace."""
        return self.predict(stay_features(book, row))

    def predict(self, matrix: np.ndarray) -> StayQuantiles:
        """Quantiles from features at plug-in."""
        own = (column(matrix, "own_visits") >= 1) & bool(self.own)
        found = {}
        for quantity in QUANTITIES:
            found[quantity] = self.pooled[quantity].predict(matrix[:, _POOLED])
            if own.any():
                found[quantity][own] = self.own[quantity].predict(matrix[own])
        return StayQuantiles(stay_h=found["stay"], energy_kwh=found["energy"], own=own)

    def as_it_goes(self, book: StayBook, row: np.ndarray, elapsed_h: np.ndarray | float) -> StayQuantiles:
        """Quantiles of the whole visit for sessions that have lasted ``elapsed_h`` and run on.

        Raises:
            ModelError: The model was trained without this part.
        """
        return self.predict_going(stay_features(book, row, elapsed_h))

    def predict_going(self, matrix: np.ndarray) -> StayQuantiles:
        """Quantiles from features some hours into the visit."""
        return StayQuantiles(
            stay_h=column(matrix, "elapsed_h")[:, None] + self.remaining_h(matrix),
            energy_kwh=self.going["energy"].predict(matrix),
            own=column(matrix, "own_visits") >= 1,
        )

    def save(self, store: ArtifactStore) -> None:
        """Write LightGBM's text for every model, then the description that names them."""
        names: dict[str, tuple[str, ...]] = {}
        for part in _PARTS:
            for quantity, ensemble in getattr(self, part).items():
                for name, booster in ensemble.members.items():
                    store.put(_file(part, quantity, name), to_text(booster))
                names[f"{part}/{quantity}"] = tuple(ensemble.members)
        described = _Description(format=FORMAT, columns=STAY_COLUMNS, members=names)
        store.put(DESCRIPTION, msgspec.json.format(msgspec.json.encode(described), indent=2) + b"\n")

    @classmethod
    def load(cls, store: ArtifactStore) -> SessionForecaster:
        """Read back; forecasts are the same to the last bit.

        Raises:
            ModelNotFoundError: There is none.
            ModelError: It is malformed, or was trained on other features.
        """
        try:
            described = msgspec.json.decode(store.get(DESCRIPTION), type=_Description)
        except msgspec.DecodeError as error:
            raise ModelError(f"{DESCRIPTION} cannot be read: {error}. Train again.") from error
        if described.format != FORMAT or described.columns != STAY_COLUMNS:
            raise ModelError("The session model was trained on other features than this version's. Train again.")
        parts: dict[str, dict[Quantity, Ensemble]] = {part: {} for part in _PARTS}
        for part in _PARTS:
            for quantity in QUANTITIES:
                columns = POOLED_COLUMNS if part == "pooled" else STAY_COLUMNS
                members = described.members.get(f"{part}/{quantity}", ())
                frame = Frame(quantity=quantity, columns=tuple(columns))
                read = {name: from_text(store.get(_file(part, quantity, name)), frame.names) for name in members}
                if read:
                    parts[part][quantity] = Ensemble.of_members(frame, read)
        return cls(pooled=parts["pooled"], own=parts["own"], going=parts["going"])


_PARTS: Final = ("pooled", "own", "going")


def _file(part: str, quantity: Quantity, name: str) -> str:
    return f"sessions_{part}_{quantity}_{name}.txt"


class _Description(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int
    columns: tuple[str, ...]
    members: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """Rows to learn from: features as they stood then, and what came. Rows of a book keep their numbers."""

    row: np.ndarray
    matrix: np.ndarray
    arrival_us: np.ndarray
    known_us: np.ndarray
    stay_h: np.ndarray
    energy_kwh: np.ndarray
    going: tuple[np.ndarray, np.ndarray]
    """For the third model: places in ``row``, and the features then."""

    @classmethod
    def of(cls, book: StayBook, row: np.ndarray, *, going: bool = True) -> Lessons:
        """Features of completed sessions; each is a pure function of what was known at its own time."""
        rows, hours = _going_points(book, row) if going else (np.zeros(0, np.int64), np.zeros(0))
        return cls(
            row=row,
            matrix=stay_features(book, row),
            arrival_us=book.arrival_us[row],
            known_us=book.known_us[row],
            stay_h=book.stay_h[row],
            energy_kwh=book.energy_kwh[row],
            going=(rows, stay_features(book, row[rows], hours)),
        )

    @property
    def own(self) -> np.ndarray:
        """Whether the driver had a completed visit."""
        return column(self.matrix, "own_visits") >= 1

    def before(self, cut_us: int) -> Lessons:
        """Those complete before the cut."""
        return self.only(self.known_us < cut_us)

    def only(self, chosen: np.ndarray) -> Lessons:
        """A part of the rows."""
        place = np.cumsum(chosen) - 1
        at, matrix = self.going
        kept = chosen[at]
        return Lessons(
            row=self.row[chosen],
            matrix=self.matrix[chosen],
            arrival_us=self.arrival_us[chosen],
            known_us=self.known_us[chosen],
            stay_h=self.stay_h[chosen],
            energy_kwh=self.energy_kwh[chosen],
            going=(place[at[kept]], matrix[kept]),
        )

    @classmethod
    def joined(cls, parts: Sequence[Lessons]) -> Lessons:
        """Rows of several sites one below another."""
        starts = np.cumsum([0, *(len(part.row) for part in parts)])
        return cls(
            row=np.concatenate([part.row for part in parts]),
            matrix=np.vstack([part.matrix for part in parts]),
            arrival_us=np.concatenate([part.arrival_us for part in parts]),
            known_us=np.concatenate([part.known_us for part in parts]),
            stay_h=np.concatenate([part.stay_h for part in parts]),
            energy_kwh=np.concatenate([part.energy_kwh for part in parts]),
            going=(
                np.concatenate([part.going[0] + start for part, start in zip(parts, starts, strict=False)]),
                np.vstack([part.going[1] for part in parts]),
            ),
        )

    def ensemble(self, quantity: Quantity, cut_us: int, spec: EnsembleSpec, columns: list[int] | None) -> Ensemble:
        """Train on these rows."""
        matrix = self.matrix if columns is None else self.matrix[:, columns]
        names = STAY_COLUMNS if columns is None else [STAY_COLUMNS[place] for place in columns]
        target = np.minimum(self.stay_h, LONGEST_STAY_H) if quantity == "stay" else self.energy_kwh
        age = (cut_us - self.arrival_us) / DAY_US
        return sessions_fit.fit(matrix, target, age, Frame(quantity=quantity, columns=tuple(names)), spec)


def _going_points(book: StayBook, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two points of GOING_H for every session that lasted so long, chosen by its arrival time alone."""
    pick = np.stack([book.arrival_us[row] // 1_000_000 * step % len(GOING_H) for step in (5, 7)], axis=1)
    hours = np.array(GOING_H)[pick]
    place, which = np.nonzero(hours < book.stay_h[row][:, None])
    return place, hours[place, which]


def _learn_going(
    lessons: Sequence[Lessons], cut_us: int, spec: EnsembleSpec, quantities: Sequence[Quantity] = QUANTITIES
) -> dict[Quantity, Ensemble]:
    known = Lessons.joined([part.before(cut_us) for part in lessons])
    at, matrix = known.going
    if len(at) < FEWEST:
        return {}
    age = (cut_us - known.arrival_us[at]) / DAY_US
    left = np.minimum(known.stay_h[at], LONGEST_STAY_H) - column(matrix, "elapsed_h")
    target = {"stay": left, "energy": known.energy_kwh[at]}
    return {
        q: sessions_fit.fit(matrix, target[q], age, Frame(quantity=q, columns=STAY_COLUMNS), spec) for q in quantities
    }


def as_forecasts(
    book: StayBook, row: np.ndarray, found: StayQuantiles, *, issued_at: datetime
) -> list[SessionForecast]:
    """The forecasts as values; 10, 50 and 90 % quantiles."""
    low, high = QUANTILES.index(0.1), QUANTILES.index(0.9)
    made = []
    for place, index in enumerate(row.tolist()):
        arrival_at = datetime.fromtimestamp(book.arrival_us[index] / 1e6, UTC)
        early, middle, late = (arrival_at + timedelta(hours=float(found.stay_h[place, q])) for q in (low, MEDIAN, high))
        kwh = found.energy_kwh[place]
        made.append(
            SessionForecast(
                session_id=book.session_id[index],
                issued_at=issued_at,
                departure_at=middle,
                departure_early_at=early,
                departure_late_at=late,
                energy_kwh=float(kwh[MEDIAN]),
                energy_low_kwh=float(kwh[low]),
                energy_high_kwh=float(kwh[high]),
            )
        )
    return made
