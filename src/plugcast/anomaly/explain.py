"""Why does the model find this session odd? Path contributions of its features, gathered into what a person would say.

Several features speak of one thing (power, its share of the rating, its distance to the driver's norm), so their
contributions are summed by topic, and each topic says one sentence with the value and the norm it departs from.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from plugcast.domain.finding import Cause, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
    "mean_kw": "power",
    "user_kw_over_top": "power",
    "user_kw_over_low": "power",
    "kw_conn": "power",
    "conn_share": "power",
    "energy_kwh": "energy",
    "early_stop": "energy",
    "user_fulfilment_z": "request",
    "requested_kwh": "request",
    "duration_h": "stay",
    "charging_h": "charging",
    "user_charging_h_z": "charging",
    "done_surprise": "done",
    "site_done_share": "done",
    "station_done_share": "done",
    "user_done_share": "done",
    "done_after_departure_min": "clock",
    "done_after_arrival_min": "clock",
    "hour_cos": "time",
    "hour_sin": "time",
    "weekend": "time",
    "station_recent_short": "bounces",
    "station_repeats": "repeats",
    "user_visits": "driver",
}
"""What each model feature speaks of; a feature of no topic speaks for itself."""

CAUSE_TOPICS: Final[Mapping[Cause, tuple[str, ...]]] = {
    Cause.FAILED_START: ("energy", "stay"),
    Cause.DERATING: ("power", "charging"),
    Cause.EARLY_STOP: ("energy", "idle"),
    Cause.STUCK_ON: ("energy", "done"),
    Cause.METER_FAULT: ("energy", "power"),
    Cause.GHOST_SESSION: ("stay", "energy"),
    Cause.OVERSTAY: ("idle", "stay"),
    Cause.TOKEN_MISUSE: ("power", "time"),
    Cause.CLOCK_FAULT: ("clock",),
    Cause.NEVER_DONE: ("done",),
    Cause.OVER_RATING: ("rating",),
    Cause.REPLAY: ("repeats",),
}
"""Where each cause shows."""
CAUSE_WORDS: Final[Mapping[Cause, str]] = {
    Cause.FAILED_START: "charging hardly started",
    Cause.DERATING: "low power",
    Cause.EARLY_STOP: "stopped early",
    Cause.STUCK_ON: "did not stop",
    Cause.METER_FAULT: "energy and time do not fit this car, as with a wrong meter",
    Cause.GHOST_SESSION: "hardly a visit",
    Cause.OVERSTAY: "stayed on after charging",
    Cause.TOKEN_MISUSE: "not this driver's usual car or time",
    Cause.CLOCK_FAULT: "times that do not fit",
    Cause.NEVER_DONE: "the end of charging was lost",
    Cause.OVER_RATING: "more power than the station has",
    Cause.REPLAY: "a repeated record",
}
MOST_CAUSES: Final = 2
FULL_POWER: Final = 0.9
LEAST_CAUSE: Final = 0.02
"""A second cause that fits this little is not worth a sentence."""

_QUANTITY: Final = {
    "charging_h": "charging time",
    "mean_kw": "power",
    "energy_kwh": "energy",
    "duration_h": "length of the stay",
}


class _Said(NamedTuple):
    text: str
    value: float
    norm: float
    cause: Cause


def odder_shares(
    forest: tuple[Sequence[str], NDArray[np.float64]],
    faults: tuple[Sequence[str], NDArray[np.float64]] | None = None,
) -> dict[str, float]:
    """Each feature's share of what makes the session odd, positive = odder; absolute shares of a part sum to 1.

    Args:
        forest: Features and path contributions of the isolation forest, positive = odder.
        faults: The same of the fault classifier, which counts for two thirds.
    """
    made: dict[str, float] = {}
    for part, weight in ((forest, 1.0), (faults, 2.0)):
        if part is None:
            continue
        names, values = part
        total = math.fsum(np.abs(values).tolist()) or 1.0
        whole = 1.0 if faults is None else 3.0
        for name, value in zip(names, values.tolist(), strict=True):
            made[name] = made.get(name, 0.0) + weight / whole * value / total
    return made


def reasons(
    row: SessionFeatures, odder: Mapping[str, float], causes: Sequence[tuple[Cause, float]]
) -> tuple[tuple[Reason, ...], Cause]:
    """The sentences, most important first (never none), and the cause that the first one speaks for.

    Args:
        row: The session.
        odder: Each feature's share, from :func:`odder_shares`.
        causes: How well each cause fits; empty where nothing was trained to tell causes apart.
    """
    topics: dict[str, list[tuple[float, str]]] = {}
    for name in sorted(odder):
        topics.setdefault(TOPICS.get(name, name), []).append((odder[name], name))
    weight = {topic: math.fsum(part for part, _ in parts) for topic, parts in topics.items()}
    made: list[Reason] = []
    told: set[str] = set()
    for cause, share in sorted(causes, key=lambda item: (-item[1], item[0]))[:MOST_CAUSES]:
        if made and share < LEAST_CAUSE:
            break
        if not _contradicted(row, cause):
            made.append(_of_cause(row, cause, topics, weight, told))
    for topic in sorted(topics, key=lambda topic: (-weight[topic], topic)):
        if len(made) >= MOST_REASONS or (made and weight[topic] < LEAST_SHARE):
            break
        if topic in told:
            continue
        said = _SAY.get(topic, _plain(topic))(row)
        made.append(_reason(said, feature=max(topics[topic])[1], share=weight[topic], cause=said.cause))
    return tuple(made), made[0].cause or Cause.UNUSUAL_USE


def _contradicted(row: SessionFeatures, cause: Cause) -> bool:
    """Whether the session's own numbers deny a cause, whatever the classifier thinks."""
    if cause == Cause.DERATING:
        said = _low_power(row)
        return row.rating_share > FULL_POWER or said.value >= said.norm
    return cause == Cause.OVER_RATING and row.mean_kw <= row.rating_kw


def _of_cause(
    row: SessionFeatures,
    cause: Cause,
    topics: Mapping[str, Sequence[tuple[float, str]]],
    weight: Mapping[str, float],
    told: set[str],
) -> Reason:
    """The sentence of a cause: what it is, and the numbers of the topics that it shows in."""
    about = CAUSE_TOPICS.get(cause, ("power",))
    said = [_SAY_OF.get((cause, topic), _SAY[topic])(row) for topic in about]
    told.update(about)
    names = [max(topics[topic]) for topic in about if topic in topics]
    feature = max(names)[1] if names else about[0]
    text = f"{CAUSE_WORDS[cause]}: " + ", and ".join(part.text for part in said)
    share = math.fsum(weight.get(topic, 0.0) for topic in about)
    return _reason(said[0]._replace(text=text), feature=feature, share=share, cause=cause)


def _reason(said: _Said, *, feature: str, share: float, cause: Cause) -> Reason:
    return Reason(
        feature=feature,
        text=said.text,
        contribution=share,
        value=_number(said.value),
        norm=_number(said.norm),
        cause=cause,
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _norm(row: SessionFeatures, name: str) -> tuple[str, float]:
    """Whose norm the sentence names: the driver's, else (for power) the station's, else the site's."""
    if row.user_visits >= DRIVER_VISITS:
        return f"this driver's median over {row.user_visits:.0f} visits", getattr(row, f"user_{name}_median")
    if name == "mean_kw" and (own := _station_norm(row)):
        return own[0]
    return f"the site's median over {row.site_visits:.0f} sessions", getattr(row, f"site_{name}_median")


def _station_norm(row: SessionFeatures) -> tuple[tuple[str, float], ...]:
    """The station's usual power, once it has a past."""
    if row.station_visits < STATION_VISITS:
        return ()
    return ((f"this station's median over {row.station_visits:.0f} sessions", row.station_mean_kw_median),)


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


def _low_power(row: SessionFeatures) -> _Said:
    """Power beside the first norm that it lies below: the usual one, the station's median, the station's rating."""
    said = _power(row)
    if not said.value >= said.norm:
        return said
    for whose, norm in (*_station_norm(row), ("the station's rating", row.rating_kw)):
        if said.value < norm:
            text = f"{said.text.partition(';')[0]}; {whose} is {norm:.1f} kW"
            return _Said(text, said.value, norm, Cause.DERATING)
    return said


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


def _charging(row: SessionFeatures) -> _Said:
    if not math.isfinite(row.charging_h):
        return _Said("it is not known when charging ended", row.charging_h, math.nan, Cause.UNUSUAL_USE)
    return _against(f"charged for {row.charging_h:.1f} h", row, "charging_h", "h")


def _rating(row: SessionFeatures) -> _Said:
    if not (math.isfinite(row.mean_kw) and math.isfinite(row.rating_kw)):
        return _Said("the power, or the station's rating, is not known", row.mean_kw, row.rating_kw, Cause.OVER_RATING)
    text = f"took {row.mean_kw:.1f} kW; the station's rating is {row.rating_kw:.1f} kW"
    return _Said(text, row.mean_kw, row.rating_kw, Cause.OVER_RATING)


def _times(row: SessionFeatures) -> _Said:
    late, after = row.done_after_departure_min, row.done_after_arrival_min
    if not math.isfinite(after):
        return _done(row)
    if late > 0:
        return _Said(f"charging ended {late:.0f} min after the plug-out", late, 0.0, Cause.CLOCK_FAULT)
    return _Said(f"charging ended {after:.0f} min after the plug-in", after, math.nan, Cause.UNUSUAL_USE)


def _bounces(row: SessionFeatures) -> _Said:
    count = row.station_recent_short if math.isfinite(row.station_recent_short) else 0.0
    text = f"{count:.0f} other visits under 10 min at this station within the hour"
    return _Said(text, count, 0.0, Cause.GHOST_SESSION if count else Cause.UNUSUAL_USE)


def _repeats(row: SessionFeatures) -> _Said:
    count = row.station_repeats if math.isfinite(row.station_repeats) else 0.0
    text = f"{count:.0f} earlier records of this station with the same energy and stay"
    return _Said(text, count, 0.0, Cause.REPLAY if count else Cause.UNUSUAL_USE)


def _driver(row: SessionFeatures) -> _Said:
    count = row.user_visits if math.isfinite(row.user_visits) else 0.0
    text = f"this driver has {count:.0f} earlier visits" if count else "a driver without a past here"
    return _Said(text, count, math.nan, Cause.UNUSUAL_USE)


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
    "charging": _charging,
    "rating": _rating,
    "clock": _times,
    "bounces": _bounces,
    "repeats": _repeats,
    "driver": _driver,
}
_SAY_OF: Final[Mapping[tuple[Cause, str], Callable[[SessionFeatures], _Said]]] = {(Cause.DERATING, "power"): _low_power}
"""What a cause says of a topic in another way than its numbers alone would."""
