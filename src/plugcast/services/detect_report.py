"""What ``plugcast detect`` found as one HTML page that needs nothing else, or as one picture."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from html import escape
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import polars as pl

from plugcast.anomaly.series_rules import SERIES_FEATURE
from plugcast.domain.finding import Severity
from plugcast.features.sessions import rows_of
from plugcast.services.report import STYLE
from plugcast.services.report_figures import as_png, as_svg, dress, figure
from plugcast.services.series_picture import draw_series, series_svg

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from plugcast.domain.finding import Finding
    from plugcast.services.detect_run import DetectReport

SHOWN: Final = 100
DRAWN: Final = 12
"""Sessions whose meter values are drawn, the most severe first."""
STATIONS: Final = 15
COLOURS: Final = {Severity.CRITICAL: "#D55E00", Severity.WARNING: "#E69F00", Severity.INFO: "#56B4E9"}
MORE: Final = """
td.why { white-space: normal; text-align: left; min-width: 22rem; }
td:nth-child(-n+5), th:nth-child(-n+5) { text-align: left; }
td.critical { color: #b03a00; font-weight: 700; } td.warning { color: #8a5a00; font-weight: 600; }
code { font-size: .85em; }
"""


def html(report: DetectReport) -> str:
    """The page: alarms beside the budget, causes, stations, and every finding with its reasons."""
    svg = as_svg(_drawn(report), name="detect")
    svg = svg.replace("<svg ", '<svg role="img" aria-label="Alarms by week, findings by cause and by station" ', 1)
    title = f"Odd sessions: {len(report.alarms):,} alarms on {report.sessions:,} sessions"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{MORE}</style></head><body><main>"
        f"<h1>{escape(title)}</h1><p class=lead>{escape(_summary(report))}</p>{_tiles(report)}"
        f"<section><h2>When, what and where</h2><figure>{svg}<figcaption class=note>An alarm is a finding of severity "
        "warning or above, the first of its episode; what many stations got on one day is one. The line is what the "
        "budget allows, by the stations in use."
        f"</figcaption></figure></section>{_series(report, ZoneInfo(report.time_zone))}"
        f"{_table(report, ZoneInfo(report.time_zone))}</main></body></html>\n"
    )


def png(report: DetectReport) -> bytes:
    """The page's picture alone."""
    return as_png(_drawn(report))


def drawer(report: DetectReport, session_id: str) -> Callable[[Axes], None] | None:
    """Draws one session's meter values; None where it has none."""
    metered = report.metered
    if metered is None or session_id not in metered.places:
        return None
    (row,) = rows_of(report.features.filter(pl.col("session_id") == session_id))
    return lambda axes: draw_series(axes, metered, row, ZoneInfo(report.time_zone))


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """The most severe first, then the oddest, then the earliest."""
    return sorted(
        findings,
        key=lambda f: (f.severity.rank, 0.0 if f.p_value is None else f.p_value, f.observed_at, f.finding_id),
    )


def _summary(report: DetectReport) -> str:
    since = f" from {report.from_at:%Y-%m-%d %H:%M} UTC on" if report.from_at is not None else ""
    return (
        f"Learned from {report.training}; records{since}. Budget {report.budget:g} alarms per station and week, "
        f"spent {report.alarm_rate:.3f} over {report.station_weeks:,.0f} station-weeks."
    )


def _tiles(report: DetectReport) -> str:
    counts = Counter(finding.severity for finding in report.findings)
    told = [
        (f"{len(report.alarms):,}", "alarms"),
        *((f"{counts[severity]:,}", f"{severity.value} findings") for severity in COLOURS),
        (f"{report.alarm_rate:.3f}", f"alarms per station and week; budget {report.budget:g}"),
        (f"{report.rejected:,}", "rows rejected"),
    ]
    cells = "".join(f"<div class=tile><b>{escape(value)}</b><span>{escape(text)}</span></div>" for value, text in told)
    return f"<div class=tiles>{cells}</div>"


def _series(report: DetectReport, zone: ZoneInfo) -> str:
    """Current against pilot of the sessions whose meter values broke a rule."""
    metered = report.metered
    if metered is None:
        return ""
    told = dict.fromkeys(
        finding.session_id
        for finding in ordered(report.findings)
        if any(reason.feature == SERIES_FEATURE for reason in finding.reasons)
    )
    shown = list(told)[:DRAWN]
    rows = {row.session_id: row for row in rows_of(report.features.filter(pl.col("session_id").is_in(shown)))}
    pictures = "".join(
        f"<figure>{series_svg(metered, rows[name], zone)}<figcaption class=note>Session {escape(name)}</figcaption>"
        "</figure>"
        for name in shown
    )
    counts = metered.counts
    return (
        "<section><h2>Current against pilot</h2><p class=note>Meter values of "
        f"{counts['sessions']:,} sessions; {len(told):,} broke a rule of physics"
        f"{f', the first {len(shown)} are drawn' if len(told) > len(shown) else ''}. Bands mark where.</p>"
        f"{pictures}</section>"
    )


def _table(report: DetectReport, zone: ZoneInfo) -> str:
    shown = ordered(report.findings)[:SHOWN]
    rows = "".join(
        f"<tr><td>{finding.observed_at.astimezone(zone):%Y-%m-%d %H:%M}</td><td>{escape(finding.station_id or 'site')}"
        f"</td><td class={finding.severity.value}>{finding.severity.value}</td>"
        f"<td>{escape(finding.cause.value.replace('_', ' '))}</td><td class=why>"
        f"{'<br>'.join(escape(reason.text) for reason in finding.reasons)}<br><small>{escape(finding.by)}, session "
        f"{escape(finding.session_id)}, finding <code>{finding.finding_id}</code></small></td>"
        f"<td>{'' if finding.p_value is None else f'{finding.p_value:.2g}'}</td></tr>"
        for finding in shown
    )
    more = len(report.findings) - len(shown)
    note = f"; {more:,} more are in the JSON report" if more > 0 else ""
    return (
        f"<section><h2>Findings and their reasons</h2><div class=scroll><table><caption>The most severe first{note}."
        "</caption><thead><tr><th>record of</th><th>station</th><th>severity</th><th>cause</th><th>why</th><th>p</th>"
        f"</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _drawn(report: DetectReport) -> Figure:
    drawn = figure(11, 7.2)
    grid = drawn.add_gridspec(2, 2, height_ratios=[1, 1.2])
    _weeks(drawn.add_subplot(grid[0, :]), report)
    by_cause: dict[str, Counter[Severity]] = {}
    by_station: dict[str, Counter[Severity]] = {}
    for finding in report.findings:
        by_cause.setdefault(finding.cause.value.replace("_", " "), Counter())[finding.severity] += 1
        by_station.setdefault(finding.station_id or "whole site", Counter())[finding.severity] += 1
    _stacked(drawn.add_subplot(grid[1, 0]), by_cause, "Findings by cause")
    _stacked(drawn.add_subplot(grid[1, 1]), by_station, "Findings by station")
    return drawn


def _weeks(axes: Axes, report: DetectReport) -> None:
    """Alarms of each week, and what the budget allowed."""
    weeks: dict[date, list[float]] = {}
    for day in report.days:
        on = date.fromordinal(day.day)
        week = weeks.setdefault(on - timedelta(days=on.weekday()), [0.0, 0.0])
        week[0] += day.alarms
        week[1] += day.allowed
    monday = sorted(weeks)
    axes.bar(
        [on.toordinal() - date(1970, 1, 1).toordinal() + 3.5 for on in monday],
        [weeks[on][0] for on in monday],
        width=6,
        color="#0072B2",
        label="alarms",
    )
    axes.step(
        [on.toordinal() - date(1970, 1, 1).toordinal() for on in monday],
        [weeks[on][1] for on in monday],
        where="post",
        color="#D55E00",
        label="budget",
    )
    axes.xaxis_date()
    if monday:
        axes.legend(frameon=False, fontsize=9)
    dress(axes, title="Alarms by week, beside the budget", y="alarms")


def _stacked(axes: Axes, counts: dict[str, Counter[Severity]], title: str) -> None:
    names = sorted(counts, key=lambda name: (counts[name].total(), name))[-STATIONS:]
    start = [0] * len(names)
    for severity, colour in COLOURS.items():
        widths = [counts[name][severity] for name in names]
        axes.barh(range(len(names)), widths, left=start, color=colour, label=severity.value)
        start = [a + b for a, b in zip(start, widths, strict=True)]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    if names:
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    dress(axes, title=title, x="findings")
