"""Four detectors and the rules on one scale: how much evidence does each have that a session is odd?

Each part's score becomes a p-value among held-out sessions, and -log10 of that its evidence: 2 is one in a hundred,
whatever the part. Squares of evidence are weighed and added, so that one part that is sure outweighs several that
wonder: a fault that the classifier never saw is still found by the others. The sum is calibrated anew, so that
dependence between the parts does no harm. Rules take part by how rarely each is broken by ordinary sessions.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from plugcast.anomaly.extended import ExtendedForest, fit_extended_forest
from plugcast.anomaly.faults import FaultClassifier, fit_faults
from plugcast.anomaly.forests import IsolationForest, fit_forest
from plugcast.anomaly.neighbours import Neighbours, fit_neighbours
from plugcast.anomaly.threshold import Tail
from plugcast.domain.finding import Severity
from plugcast.features.sessions import SessionFeatures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from plugcast.anomaly.rules import Broken
    from plugcast.domain.finding import Cause

    Floats = NDArray[np.float64]

NAMES: Final = tuple(SessionFeatures.__struct_fields__[6:])
"""All numbers of a session, in the order of its matrix."""
RELATIVE: Final = (
    "conn_share",
    "done_surprise",
    "early_stop",
    "fulfilment",
    "idle_frac",
    "idle_h",
    "overstay_h",
    "rating_share",
    "station_mean_kw_z",
    "user_arrival_hour_z",
    "user_charging_h_z",
    "user_duration_h_z",
    "user_energy_kwh_z",
    "user_fulfilment_z",
    "user_kw_over_low",
    "user_kw_over_top",
    "user_mean_kw_z",
)
"""Distances to norms rather than raw amounts: a big battery is not odd, a driver's car that changes is."""
SUPERVISED: Final = (
    *RELATIVE,
    "charging_h",
    "done_after_arrival_min",
    "done_after_departure_min",
    "done_missing",
    "duration_h",
    "energy_kwh",
    "hour_cos",
    "hour_sin",
    "kw_conn",
    "mean_kw",
    "requested_kwh",
    "site_done_share",
    "station_done_share",
    "station_recent_short",
    "station_repeats",
    "user_done_share",
    "user_visits",
    "weekend",
)
"""What the fault classifier sees: amounts too, since it has seen both kinds of rows with each amount."""
PARTS: Final = ("forest", "extended", "neighbours", "faults", "rules")
TRUSTED: Final = 3.0
"""Evidence that some thousand held-out sessions can show by themselves; what the tail adds to it counts a quarter, so
that one part that is beside itself (every session of a silent month without its end) does not drown the others."""
BEYOND: Final = 0.25
NOTICE: Final = 0.5
"""A rule of severity info tells what happens every week: it is this share of the evidence of its rarity."""
HELD_OUT_SHARE: Final = 0.3
"""The later part of the training period calibrates; then the detectors are fitted anew, on the newest."""


class Scorer(Protocol):
    """What every detector is: named features in, one score a row out, HIGHER is odder."""

    @property
    def names(self) -> tuple[str, ...]:
        """The features that it looks at, sorted."""

    def score(self, matrix: Floats, names: Sequence[str]) -> Floats:
        """(rows,) of (rows, columns); NaN = missing, columns in any order, further ones ignored, absent ones missing.

        The matrix is not changed, and a row's score does not depend on the other rows.
        """

    def to_arrays(self) -> Mapping[str, NDArray[Any]]:
        """All that decides its scores, but for names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSpec:
    """Sizes and weights, chosen on faults put into real sessions before September 2019.

    ``plugcast detect tune`` chooses them on your own.
    """

    forest_trees: int = 200
    forest_subsample: int = 256
    extended_terms: int = 2
    extended_trees: int = 100
    references: int = 1024
    neighbours: int = 5
    rounds: int = 300
    leaves: int = 31
    newest_share: float = 0.6
    """Of the training rows: what drivers and stations did long ago is not what they do."""
    weights: tuple[float, float, float, float, float] = (0.4, 0.4, 0.4, 3.0, 2.0)
    """Of ``PARTS``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Sessions as a matrix in time order, with the rules that each breaks."""

    matrix: Floats
    """(rows, len(NAMES))."""
    at_us: NDArray[np.int64]
    broken: Sequence[Sequence[Broken]] = ()

    def part(self, start: int, stop: int) -> Rows:
        """Some of the rows."""
        return Rows(matrix=self.matrix[start:stop], at_us=self.at_us[start:stop], broken=self.broken[start:stop])

    def __len__(self) -> int:
        return len(self.matrix)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Faulty:
    """Sessions with a fault put in, and which."""

    rows: Rows
    causes: tuple[Cause, ...]

    def between(self, first_us: int, last_us: int) -> Faulty:
        """Those known from first to last."""
        kept = np.flatnonzero((self.rows.at_us >= first_us) & (self.rows.at_us <= last_us))
        rows = Rows(matrix=self.rows.matrix[kept], at_us=self.rows.at_us[kept])
        return Faulty(rows=rows, causes=tuple(self.causes[place] for place in kept))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stack:
    """Fitted detectors of one current type, and the held-out scores that make them comparable."""

    forest: IsolationForest
    extended: ExtendedForest
    neighbours: Neighbours
    faults: FaultClassifier | None
    """None where no faults were put in: then the others share its weight."""
    held_out: Mapping[str, Floats]
    """By part, ascending."""
    rule_evidence: Mapping[str, float]
    """Of the rules that held-out sessions broke; a rule that none broke has the most."""
    unbroken: float
    weights: tuple[float, ...]
    tails: Mapping[str, Tail] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Fit the tails."""
        object.__setattr__(self, "tails", {name: Tail(held_out=part) for name, part in self.held_out.items()})

    @property
    def scorers(self) -> dict[str, Scorer]:
        """The detectors by part."""
        made: dict[str, Scorer] = {
            "forest": self.forest,
            "extended": self.extended,
            "neighbours": self.neighbours,
        }
        return made if self.faults is None else made | {"faults": self.faults}

    def evidence(self, matrix: Floats, broken: Sequence[Sequence[Broken]]) -> dict[str, Floats]:
        """Evidence of each part, (rows,) each; a row's does not depend on the others."""
        made = {name: self.tails[name].evidence(part.score(matrix, NAMES)) for name, part in self.scorers.items()}
        return made | {"rules": self.of_rules(broken)}

    def of_rules(self, broken: Sequence[Sequence[Broken]]) -> Floats:
        """Evidence of the rarest rule that each row breaks, (rows,); 0 where it breaks none."""
        rows = [
            max(
                (
                    self.rule_evidence.get(b.rule, self.unbroken) * (NOTICE if b.severity == Severity.INFO else 1.0)
                    for b in found
                ),
                default=0.0,
            )
            for found in broken
        ]
        return np.array(rows, dtype=np.float64)

    def total(self, evidence: Mapping[str, Floats], leaning: Floats | None = None) -> Floats:
        """The weighed sum of squares; HIGHER is odder. See :func:`weigh`."""
        return weigh(evidence, self.weights, leaning)


def weigh(evidence: Mapping[str, Floats], weights: Sequence[float], leaning: Floats | None = None) -> Floats:
    """Weighed sum of squares over ``PARTS``, added in their order.

    Args:
        evidence: By part.
        weights: Of ``PARTS``.
        leaning: Factors from feedback, for what was learnt; rules are physics, and no opinion changes them.
    """
    total = np.zeros(len(evidence["rules"]))
    for name, weight in zip(PARTS, weights, strict=True):
        if name not in evidence:
            continue
        own = evidence[name]
        if name != "rules":
            own = np.minimum(own, TRUSTED) + BEYOND * (np.maximum(own, TRUSTED) - TRUSTED)
        part = weight * own * own
        total += part if leaning is None or name == "rules" else part * leaning
    return total


def fit_stack(ordinary: Rows, faulty: Faulty | None, *, seed: int, spec: StackSpec) -> tuple[Stack, Floats]:
    """Fit, calibrate on the later part, fit anew; also the held-out rows' total evidence, in time order.

    Args:
        ordinary: Real sessions in time order, real oddities among them.
        faulty: Faults put into them; None for no classifier.
        seed: Of everything drawn.
        spec: Sizes and weights.
    """
    early = round(len(ordinary) * (1 - HELD_OUT_SHARE))
    later = ordinary.part(early, len(ordinary))
    first = _fit(ordinary.part(0, early), faulty, seed, spec, heads=False)
    held_out = {name: np.sort(part.score(later.matrix, NAMES)) for name, part in first.items()}
    counts = Counter(b.rule for found in later.broken for b in found)
    most = math.log10(len(later) + 1.0)
    final = _fit(ordinary, faulty, seed, spec, heads=True)
    stack = Stack(
        forest=final["forest"],  # type: ignore[arg-type]
        extended=final["extended"],  # type: ignore[arg-type]
        neighbours=final["neighbours"],  # type: ignore[arg-type]
        faults=final.get("faults"),  # type: ignore[arg-type]
        held_out=held_out,
        rule_evidence={rule: most - math.log10(1.0 + count) for rule, count in sorted(counts.items())},
        unbroken=most,
        weights=spec.weights,
    )
    scores = {name: stack.tails[name].evidence(part.score(later.matrix, NAMES)) for name, part in first.items()}
    return stack, stack.total(scores | {"rules": stack.of_rules(later.broken)})


def refit_faults(stack: Stack, ordinary: Rows, faulty: Faulty, *, seed: int, spec: StackSpec) -> Stack:
    """The stack with a classifier of other faults, calibrated as before; it does not name causes."""
    early = round(len(ordinary) * (1 - HELD_OUT_SHARE))
    first = _classifier(_newest(ordinary.part(0, early), spec), faulty, seed, spec, heads=False)
    final = _classifier(_newest(ordinary, spec), faulty, seed, spec, heads=False)
    held_out = dict(stack.held_out)
    if first is not None:
        held_out["faults"] = np.sort(first.score(ordinary.matrix[early:], NAMES))
    return replace(stack, faults=final, held_out=held_out)


def _newest(rows: Rows, spec: StackSpec) -> Rows:
    return rows.part(round(len(rows) * (1 - spec.newest_share)), len(rows))


def _classifier(
    newest: Rows, faulty: Faulty | None, seed: int, spec: StackSpec, *, heads: bool
) -> FaultClassifier | None:
    known = faulty.between(int(newest.at_us[0]), int(newest.at_us[-1])) if faulty is not None else None
    if known is None or not known.causes:
        return None
    wanted = [NAMES.index(name) for name in SUPERVISED]
    return fit_faults(
        newest.matrix[:, wanted],
        known.rows.matrix[:, wanted],
        known.causes if heads else (),
        SUPERVISED,
        seed=seed,
        rounds=spec.rounds,
        leaves=spec.leaves,
    )


def _fit(rows: Rows, faulty: Faulty | None, seed: int, spec: StackSpec, *, heads: bool) -> dict[str, Scorer]:
    """The detectors, on the newest share of the rows."""
    newest = _newest(rows, spec)
    columns = [NAMES.index(name) for name in RELATIVE]
    relative = newest.matrix[:, columns]
    made: dict[str, Scorer] = {
        "forest": fit_forest(relative, RELATIVE, seed=seed, trees=spec.forest_trees, subsample=spec.forest_subsample),
        "extended": fit_extended_forest(
            relative, RELATIVE, seed=seed, terms=spec.extended_terms, trees=spec.extended_trees
        ),
        "neighbours": fit_neighbours(relative, RELATIVE, seed=seed, references=spec.references, k=spec.neighbours),
    }
    faults = _classifier(newest, faulty, seed, spec, heads=heads)
    if faults is not None:
        made["faults"] = faults
    return made
