"""A session's current against its pilot as a picture, with the stretches marked that broke a rule."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from plugcast.anomaly.series_rules import check_series, lasted
from plugcast.features.series import at_of
from plugcast.services.report_figures import as_png, as_svg, dress, figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from matplotlib.axes import Axes

    from plugcast.anomaly.series_rules import SeriesBroken
    from plugcast.domain.messages import MeterValues
    from plugcast.features.sessions import SessionFeatures
    from plugcast.services.meter_join import Metered

OFFERED, DRAWN, REGISTER, MARKED = "#8a949e", "#0072B2", "#009E73", "#D55E00"
MOST_POINTS: Final = 1_500
"""Drawn; of more samples every so-and-so-manyth, the marked stretches apart."""


def series_svg(metered: Metered, row: SessionFeatures, zone: ZoneInfo) -> str:
    """For a page."""
    drawn = figure(8.2, 2.6)
    draw_series(drawn.add_subplot(), metered, row, zone)
    return as_svg(drawn, name=f"series-{row.session_id}")


def series_png(metered: Metered, row: SessionFeatures, zone: ZoneInfo) -> bytes:
    """Alone."""
    drawn = figure(9, 3.4)
    draw_series(drawn.add_subplot(), metered, row, zone)
    return as_png(drawn)


def draw_series(axes: Axes, metered: Metered, row: SessionFeatures, zone: ZoneInfo) -> None:
    """Pilot as steps, current as a line, the register's count beside; broken rules as bands with their names."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # noqa: PLC0415 - heavy, needed to draw only

    values = sorted(metered.values(row.session_id), key=lambda sample: sample.measured_at)
    series = metered.series(row.session_id)
    broken = () if series is None else check_series(series, row)
    shown = values[:: max(1, len(values) // MOST_POINTS)]
    at = [_local(sample.measured_at, zone) for sample in shown]
    if any(sample.offered_current_a is not None for sample in shown):
        offered = [_or_nan(sample.offered_current_a) for sample in shown]
        axes.step(at, offered, where="post", color=OFFERED, linewidth=1.4, label="pilot: may draw")  # type: ignore[arg-type]
    current = any(sample.measured_current_a is not None for sample in shown)
    drawn = [_or_nan(sample.measured_current_a if current else sample.power_kw) for sample in shown]
    axes.plot(at, drawn, color=DRAWN, linewidth=1.2, label="drawn")  # type: ignore[arg-type]
    left, _ = metered.stays[row.session_id]
    if left is not None and left < values[-1].measured_at:
        axes.axvline(_local(left, zone), color="#1b1f24", linewidth=1, linestyle=":", label="plug-out")  # type: ignore[arg-type]
    _mark(axes, broken, zone)
    _register(axes, shown, at)
    highest = max((amps for amps in drawn if amps == amps), default=1.0)  # noqa: PLR0124 - NaN is unequal to itself
    axes.set_ylim(0, 1.15 * max(highest, axes.get_ylim()[1] / 1.05))
    dates = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(dates)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(dates))  # type: ignore[no-untyped-call]
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.16), ncols=4)
    dress(axes, title=_title(row, broken), y="A" if current else "kW")


def _mark(axes: Axes, broken: Sequence[SeriesBroken], zone: ZoneInfo) -> None:
    """Bands over the stretches; a point in time gets a minute's width."""
    for rule in broken:
        if rule.stretch is None:
            continue
        begin, end = (_local(at_of(at), zone) for at in (rule.stretch.start_us, rule.stretch.end_us))
        name = f"{rule.rule.replace('_', ' ')}, {lasted(rule.stretch.seconds)}"
        axes.axvspan(begin, end, color=MARKED, alpha=0.22, linewidth=0.8, label=name)  # type: ignore[arg-type]


def _register(axes: Axes, shown: Sequence[MeterValues], at: Sequence[datetime]) -> None:
    """What the register counted since the first sample, on the right."""
    first = next((sample.energy_register_kwh for sample in shown if sample.energy_register_kwh is not None), None)
    if first is None:
        return
    beside = axes.twinx()
    counted = [_or_nan(sample.energy_register_kwh) - first for sample in shown]
    beside.plot(at, counted, color=REGISTER, linewidth=1, linestyle="--")  # type: ignore[arg-type]
    beside.set_ylabel("kWh counted", color=REGISTER, fontsize=8)
    beside.tick_params(colors=REGISTER, labelsize=8)
    beside.spines[["top", "left", "bottom"]].set_visible(False)
    beside.spines["right"].set_color(REGISTER)


def _title(row: SessionFeatures, broken: Sequence[SeriesBroken]) -> str:
    said = broken[0].text if broken else "nothing in its meter values breaks a rule"
    text = f"{row.station_id}: {said}"
    return text if len(text) <= 110 else text[:109] + "…"  # noqa: PLR2004 - what fits above the picture


def _local(at: datetime, zone: ZoneInfo) -> datetime:
    return at.astimezone(UTC).astimezone(zone).replace(tzinfo=None)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
