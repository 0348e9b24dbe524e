"""Why does the model find this session odd? Path contributions of its features, gathered into what a person would say.

Several features speak of one thing (power, its share of the rating, its distance to the driver's norm), so their
contributions are summed by topic, and each topic says one sentence with the value and the norm it departs from.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from plugcast.domain.finding import Cause, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from plugcast.features.sessions import SessionFeatures

LONG_IDLE_H: Final = 1.0
"""A full car that stands for less has not overstayed."""
MOST_REASONS: Final = 3
LEAST_SHARE: Final = 0.05
"""Topics below this share of the score are not worth a sentence."""
DRIVER_VISITS: Final = 3
STATION_VISITS: Final = 10

TOPICS: Final[Mapping[str, str]] = {
    "rating_share": "power",
    "user_mean_kw_z": "power",
    "station_mean_kw_z": "power",
    "user_energy_kwh_z": "energy",
    "fulfilment": "request",
    "user_duration_h_z": "stay",
    "idle_h": "idle",
    "idle_frac": "idle",
    "overstay_h": "departure",
    "done_missing": "done",
    "user_arrival_hour_z": "time",
}
"""What each model feature speaks of; a feature of no topic speaks for itself."""


_QUANTITY: Final = {"mean_kw": "power", "energy_kwh": "energy", "duration_h": "length of the stay"}


class _Said(NamedTuple):
    text: str
    value: float
    norm: float
    cause: Cause


def reasons(
    row: SessionFeatures, names: Sequence[str], contributions: NDArray[np.float64]
) -> tuple[tuple[Reason, ...], Cause]:
    """The sentences, most important first (never none), and the cause that the first one points to.

    Args:
        row: The session.
        names: The model's features.
        contributions: (features,) change of the expected path length; negative makes the session odder.
    """
    odder = {name: -float(part) for name, part in zip(names, contributions.tolist(), strict=True)}
    total = math.fsum(abs(part) for part in odder.values()) or 1.0
    topics: dict[str, list[tuple[float, str]]] = {}
    for name in sorted(odder):
        topics.setdefault(TOPICS.get(name, name), []).append((odder[name] / total, name))
    ranked = sorted(topics.items(), key=lambda item: (-math.fsum(part for part, _ in item[1]), item[0]))
    made: list[Reason] = []
    cause: Cause | None = None
    for topic, parts in ranked[:MOST_REASONS]:
        share = math.fsum(part for part, _ in parts)
        if made and share < LEAST_SHARE:
            break
        said = _SAY.get(topic, _plain(topic))(row)
        cause = cause or said.cause
        made.append(
            Reason(
                feature=max(parts)[1],
                text=said.text,
                contribution=share,
                value=_number(said.value),
                norm=_number(said.norm),
            )
        )
    return tuple(made), cause or Cause.UNUSUAL_USE


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _norm(row: SessionFeatures, name: str) -> tuple[str, float]:
    """Whose norm the sentence names: the driver's, else (for power) the station's, else the site's."""
    if row.user_visits >= DRIVER_VISITS:
        return f"this driver's median over {row.user_visits:.0f} visits", getattr(row, f"user_{name}_median")
    if name == "mean_kw" and row.station_visits >= STATION_VISITS:
        return f"this station's median over {row.station_visits:.0f} sessions", row.station_mean_kw_median
    return f"the site's median over {row.site_visits:.0f} sessions", getattr(row, f"site_{name}_median")


def _against(said: str, row: SessionFeatures, name: str, unit: str) -> _Said:
    """The sentence with its norm; the cause is the caller's to say."""
    value = getattr(row, name)
    whose, norm = _norm(row, name)
    if not math.isfinite(value):
        text = f"the {_QUANTITY[name]} is not known"
    elif not math.isfinite(norm):
        text = f"{said}; there is no norm yet"
    else:
        text = f"{said}; {whose} is {norm:.1f} {unit}"
    return _Said(text, value, norm, Cause.UNUSUAL_USE)


def _power(row: SessionFeatures) -> _Said:
    known = row.charging_h > 0
    span = "while charging" if known else "over the whole stay, the end of charging not being known"
    said = _against(f"took {row.mean_kw:.1f} kW {span}", row, "mean_kw", "kW")
    if not known and row.station_done_share > 0.5:  # noqa: PLR2004 - a station that usually reports it
        return said._replace(cause=Cause.NEVER_DONE)  # power over a stay says little against power while charging
    return said._replace(cause=Cause.DERATING if said.value < said.norm else Cause.UNUSUAL_USE)


def _energy(row: SessionFeatures) -> _Said:
    said = _against(f"delivered {row.energy_kwh:.1f} kWh", row, "energy_kwh", "kWh")
    early = said.value < said.norm / 2 and row.idle_frac > 0.5  # noqa: PLR2004 - half the norm, idle half the stay
    return said._replace(cause=Cause.EARLY_STOP if early else Cause.UNUSUAL_ENERGY)


def _request(row: SessionFeatures) -> _Said:
    text = (
        f"delivered {row.energy_kwh:.1f} of {row.requested_kwh:.1f} kWh requested at first ({row.fulfilment:.0%})"
        if math.isfinite(row.fulfilment)
        else "no energy was requested"
    )
    cause = Cause.UNUSUAL_ENERGY if math.isfinite(row.fulfilment) else Cause.UNUSUAL_USE
    return _Said(text, row.energy_kwh, row.requested_kwh, cause)


def _stay(row: SessionFeatures) -> _Said:
    said = _against(f"stayed {row.duration_h:.1f} h", row, "duration_h", "h")
    return said._replace(cause=Cause.OVERSTAY if said.value > said.norm else Cause.UNUSUAL_USE)


def _idle(row: SessionFeatures) -> _Said:
    if not math.isfinite(row.idle_h):
        return _done(row)
    text = f"stood full for {row.idle_h:.1f} h, {row.idle_frac:.0%} of the stay"
    long = row.idle_h > LONG_IDLE_H and row.idle_frac > 0.5  # noqa: PLR2004 - more than half the stay
    return _Said(text, row.idle_h, math.nan, Cause.OVERSTAY if long else Cause.UNUSUAL_USE)


def _departure(row: SessionFeatures) -> _Said:
    if not math.isfinite(row.overstay_h):
        return _Said("no departure was declared", math.nan, math.nan, Cause.UNUSUAL_USE)
    side = "after" if row.overstay_h > 0 else "before"
    text = f"left {abs(row.overstay_h):.1f} h {side} the declared departure"
    return _Said(text, row.overstay_h, 0.0, Cause.OVERSTAY if row.overstay_h > 0 else Cause.UNUSUAL_USE)


def _done(row: SessionFeatures) -> _Said:
    share = row.station_done_share
    norm = f"; this station reports it in {share:.0%} of sessions" if math.isfinite(share) else ""
    said = "an end of charging was reported" if row.done_missing == 0 else "no end of charging was reported"
    cause = Cause.NEVER_DONE if row.done_missing == 1 else Cause.UNUSUAL_USE
    return _Said(said + norm, row.done_missing, 1.0 - share, cause)


def _time(row: SessionFeatures) -> _Said:
    whose, norm = _norm(row, "arrival_hour")
    day = " on a weekend" if row.weekend == 1 else ""
    text = f"arrived at {_clock(row.arrival_hour)}{day}"
    text = f"{text}; {whose} is {_clock(norm)}" if math.isfinite(norm) else text
    return _Said(text, row.arrival_hour, norm, Cause.UNUSUAL_USE)


def _clock(hour: float) -> str:
    if not math.isfinite(hour):
        return "an hour that is not known"
    minutes = int(hour * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _plain(name: str) -> Callable[[SessionFeatures], _Said]:
    """For a feature of no topic: its name and value."""

    def say(row: SessionFeatures) -> _Said:
        value = float(getattr(row, name, math.nan))
        return _Said(f"{name} is {value:.2f}", value, math.nan, Cause.UNUSUAL_USE)

    return say


_SAY: Final[Mapping[str, Callable[[SessionFeatures], _Said]]] = {
    "power": _power,
    "energy": _energy,
    "request": _request,
    "stay": _stay,
    "idle": _idle,
    "departure": _departure,
    "done": _done,
    "time": _time,
}
