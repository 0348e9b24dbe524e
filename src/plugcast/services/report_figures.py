"""The pictures of a backtest. Each title says what was found; colours are Okabe and Ito's, told apart by all eyes.

matplotlib is only imported when something is drawn, and never opens a window: figures are made without pyplot.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from plugcast.forecast.contenders import BLEND, CLIMATOLOGY, FROZEN, MODEL, PERSISTENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from plugcast.services.backtesting import Fan

INK, MUTED, GRID = "#1b1f24", "#59636e", "#d8dee4"
STYLES: Final[dict[str, dict[str, Any]]] = {
    MODEL: {"color": "#0072B2", "marker": "o", "linewidth": 2.4, "zorder": 5},
    PERSISTENCE: {"color": "#D55E00", "marker": "s", "linestyle": "--"},
    CLIMATOLOGY: {"color": "#009E73", "marker": "^", "linestyle": "-."},
    BLEND: {"color": "#8a5a83", "marker": "D", "linestyle": ":"},
    FROZEN: {"color": "#56B4E9", "marker": "v", "linestyle": "--"},
}
OTHER: Final[dict[str, Any]] = {"color": "#7f7f7f", "marker": "x", "linestyle": "--"}
LABELS: Final = {CLIMATOLOGY: "hour of the week", BLEND: "blend of the two"}
DOT: Final[dict[str, Any]] = {"color": "#0072B2", "zorder": 5, "edgecolor": "white", "linewidth": 0.8}
RELIABLE: Final = 0.02
FEWEST_STATED: Final = 50
"""A chance stated less often than this makes no dot."""
DIAGRAMS: Final = (15.0, 180.0, 720.0, 2880.0)
"""Leads whose reliability is drawn; others, evenly spread, where one of these was not scored."""


def lead_name(lead_min: float) -> str:
    """``15 min``, ``6 h``.

    >>> lead_name(15), lead_name(360)
    ('15 min', '6 h')
    """
    return f"{lead_min:g} min" if lead_min < 60 else f"{lead_min / 60:g} h"  # noqa: PLR2004 - minutes in an hour


def label_of(name: str) -> str:
    """A contender's name for people."""
    return LABELS.get(name, name)


def skill_title(document: dict[str, Any]) -> str:
    """What the comparison by lead found, in a sentence; a lead counts where the whole interval lies above zero."""
    rows = document["leads"]
    skill = [row["skill"]["below_better_baseline"] for row in rows]
    sure = [each.value for each in skill if each.low > 0]
    first, last = lead_name(rows[0]["lead_min"]), lead_name(rows[-1]["lead_min"])
    if len(sure) == len(skill):
        return f"From {first} to {last} ahead, the model saves {_range(sure)} of the better baseline's squared error"
    if not sure:
        return f"From {first} to {last} ahead, the model is not surely better than the better baseline"
    return (
        f"The model is surely better than the better baseline at {len(sure)} of {len(skill)} leads, where it saves "
        f"{_range(sure)} of the squared error"
    )


def reliability_title(document: dict[str, Any]) -> str:
    """How far stated chances are from what came, in a sentence."""
    worst = max(document["leads"], key=lambda row: row["plug"][MODEL]["ece"])
    ece, lead = worst["plug"][MODEL]["ece"], lead_name(worst["lead_min"])
    if ece <= RELIABLE:
        return f"Stated chances come true: off by {100 * ece:.1f} points on average at most, {lead} ahead"
    return f"Stated chances are off by up to {100 * ece:.1f} points on average, {lead} ahead"


def energy_title(document: dict[str, Any]) -> str:
    """How well energy to full was forecast, in a sentence; empty without a state of charge."""
    rows = [row for row in document["leads"] if row.get("energy", {}).get(MODEL)]
    if not rows:
        return ""
    shares = [row["energy"][MODEL]["coverage_80"].value for row in rows if "coverage_80" in row["energy"][MODEL]]
    gains = [1 - row["energy"][MODEL]["mae_pct"].value / _rival(row["energy"]) for row in rows]
    if min(gains) <= 0:
        won = sum(gain > 0 for gain in gains)
        text = f"Energy to full: error below the better baseline's at {won} of {len(gains)} leads"
    else:
        text = f"Energy to full: error {_range(gains)} below the better baseline's"
    return text + (f"; the 80 % band holds {_range(shares)}" if shares else "")


def _rival(energies: dict[str, Any]) -> float:
    """The smallest error of those that are not the model."""
    return min(float(each["mae_pct"].value) for name, each in energies.items() if name not in {MODEL, FROZEN})


def _range(values: Sequence[float]) -> str:
    low, high = f"{100 * min(values):.0f}", f"{100 * max(values):.0f}"
    return f"{low} %" if low == high else f"{low} to {high} %"


def figure(width: float, height: float) -> Figure:
    """An empty one, in inches."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only drawing needs it

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def dress(axes: Axes, *, x: str = "", y: str = "", title: str = "") -> None:
    """The report's look."""
    axes.set_xlabel(x, color=MUTED, fontsize=9)
    axes.set_ylabel(y, color=MUTED, fontsize=9)
    if title:
        axes.set_title(title, loc="left", fontsize=10, color=INK, fontweight="bold")
    axes.grid(visible=True, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=8.5, length=3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)


def by_lead(document: dict[str, Any]) -> Figure:
    """Brier score of every contender by lead, and by how much the model lies below the baselines."""
    rows = document["leads"]
    place = np.arange(len(rows))
    drawn = figure(10.4, 4.3)
    left, right = drawn.subplots(1, 2, width_ratios=(1.25, 1))
    for name in rows[0]["plug"]:
        briers = [row["plug"][name]["brier"] for row in rows]
        style = STYLES.get(name, OTHER)
        left.plot(place, [each.value for each in briers], label=label_of(name), markersize=5.5, **style)
        left.fill_between(
            place,
            [each.low for each in briers],
            [each.high for each in briers],
            color=style["color"],
            alpha=0.16 if name == MODEL else 0.07,
            lw=0,
        )
    left.set_ylim(bottom=0)
    dress(left, x="lead", y="Brier score (lower is better)", title="Will it be plugged in?")
    left.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    _bars_of_skill(right, rows, place)
    for axes in (left, right):
        axes.set_xticks(place, [lead_name(row["lead_min"]) for row in rows])
        axes.grid(visible=False, axis="x")
    return drawn


def _bars_of_skill(axes: Axes, rows: Sequence[dict[str, Any]], place: np.ndarray) -> None:
    kinds = (
        ("below_better_baseline", "the better baseline", STYLES[MODEL]["color"], -0.19),
        ("below_blend", "the blend", STYLES[BLEND]["color"], 0.19),
    )
    axes.axhline(0, color=MUTED, linewidth=1)
    for key, label, colour, shift in kinds:
        if any(key not in row["skill"] for row in rows):
            continue
        skill = [row["skill"][key] for row in rows]
        value = 100 * np.array([each.value for each in skill])
        reach = 100 * np.array([[each.value - each.low for each in skill], [each.high - each.value for each in skill]])
        axes.bar(place + shift, value, 0.34, color=colour, label=f"below {label}", alpha=0.9)
        axes.errorbar(
            place + shift, value, np.nan_to_num(np.maximum(reach, 0)), fmt="none", ecolor=INK, elinewidth=1, capsize=2
        )
    dress(axes, x="lead", y="% of Brier score saved, 95 % interval", title="What the model saves")
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK)


def reliability(document: dict[str, Any]) -> Figure:
    """Reliability diagrams, with how often each chance was stated."""
    chosen = [row for row in document["leads"] if row["lead_min"] in DIAGRAMS]
    if len(chosen) < len(DIAGRAMS):
        places = np.unique(np.linspace(0, len(document["leads"]) - 1, len(DIAGRAMS)).round().astype(int))
        chosen = [document["leads"][place] for place in places]
    drawn = figure(10.4, 3.9)
    grid = drawn.subplots(2, len(chosen), height_ratios=(3.2, 1), sharex=True, squeeze=False)
    for column, row in enumerate(chosen):
        upper, lower = grid[0][column], grid[1][column]
        points = row["reliability"]
        said, came, count = (100 * np.array(points[key]) for key in ("forecast", "observed", "count"))
        share, often = count / count.sum() * 100, count >= 100 * FEWEST_STATED
        upper.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        upper.plot(said[often], came[often], color=STYLES[MODEL]["color"], linewidth=1.6, zorder=4)
        upper.scatter(said[often], came[often], s=18 + 2.2 * share[often], **DOT)
        upper.set(xlim=(-4, 104), ylim=(-4, 104), xticks=(0, 50, 100), yticks=(0, 50, 100))
        dress(upper, y="came true, %" if column == 0 else "", title=f"{lead_name(row['lead_min'])} ahead")
        gap = f"mean gap {100 * row['plug'][MODEL]['ece']:.1f} points"
        upper.text(102, -1, gap, ha="right", fontsize=8, color=MUTED)
        lower.bar(said, share, 8, color=STYLES[MODEL]["color"], alpha=0.55)
        lower.set_ylim(0, 105)
        lower.set_yticks((0, 100))
        dress(lower, x="stated chance, %", y="share, %" if column == 0 else "")
    return drawn


def energy(document: dict[str, Any]) -> Figure | None:
    """Error of energy to full by lead and the coverage of the band; None without a state of charge."""
    rows = [row for row in document["leads"] if row.get("energy", {}).get(MODEL)]
    if not rows:
        return None
    place = np.arange(len(rows))
    drawn = figure(10.4, 3.9)
    left, right = drawn.subplots(1, 2, width_ratios=(1.25, 1))
    for name in rows[0]["energy"]:
        errors = [row["energy"][name]["mae_pct"] for row in rows]
        style = STYLES.get(name, OTHER)
        left.plot(place, [each.value for each in errors], label=label_of(name), markersize=5.5, **style)
        left.fill_between(
            place,
            [each.low for each in errors],
            [each.high for each in errors],
            color=style["color"],
            alpha=0.16 if name == MODEL else 0.07,
            lw=0,
        )
    left.set_ylim(bottom=0)
    dress(left, x="lead", y="mean absolute error, % of the battery", title="How far from full?")
    left.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    held = [row["energy"][MODEL]["coverage_80"] for row in rows]
    value = 100 * np.array([each.value for each in held])
    reach = np.maximum([[e.value - e.low for e in held], [e.high - e.value for e in held]], 0) * 100
    right.axhline(80, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    right.errorbar(place, value, np.nan_to_num(reach), fmt="o", color=STYLES[MODEL]["color"], capsize=3, markersize=6)
    right.set_ylim(min(60, value.min() - 5), 100)
    dress(right, x="lead", y="outcomes inside, %, 95 % interval", title="Does the 80 % band hold 80 %?")
    for axes in (left, right):
        axes.set_xticks(place, [lead_name(row["lead_min"]) for row in rows])
        axes.grid(visible=False, axis="x")
    return drawn


def by_fold(document: dict[str, Any]) -> Figure | None:
    """Brier score 6 h ahead in each fold; None where there is one."""
    row = min(document["leads"], key=lambda each: abs(each["lead_min"] - 360))
    table = row["folds"]
    if len(table) < 2:  # noqa: PLR2004 - one fold is no comparison
        return None
    drawn = figure(10.4, 2.9)
    axes = drawn.subplots()
    for name in table[0]["brier"]:
        axes.plot(
            [each["brier"][name] for each in table], label=label_of(name), markersize=5.5, **STYLES.get(name, OTHER)
        )
    axes.set_xticks(range(len(table)), [each["fold"] for each in table])
    axes.set_ylim(bottom=0)
    dress(axes, y="Brier score", title=f"{lead_name(row['lead_min'])} ahead, fold by fold")
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, ncols=5, loc="lower right")
    axes.grid(visible=False, axis="x")
    return drawn


def fans(drawn_fans: Sequence[Fan], time_zone: str) -> Figure | None:
    """48 hours ahead of some assets beside what came; None without any."""
    if not drawn_fans:
        return None
    with_energy = any(
        fan.forecast.energy_low_pct is not None and not np.isnan(fan.actual_energy_pct).all() for fan in drawn_fans
    )
    lines = 2 if with_energy else 1
    drawn = figure(10.4, 1.2 + 2.1 * lines)
    grid = drawn.subplots(lines, len(drawn_fans), sharex=True, sharey="row", squeeze=False)
    for column, fan in enumerate(drawn_fans):
        issued = fan.issued_at.astimezone(ZoneInfo(time_zone))
        upper = grid[0][column]
        upper.fill_between(
            fan.actual_h,
            0,
            100 * fan.actual_plugged,
            step="post",
            color="#E69F00",
            alpha=0.3,
            lw=0,
            label="was plugged in",
        )
        upper.plot(
            fan.lead_h, 100 * fan.forecast.plug_probability, color=STYLES[MODEL]["color"], lw=2, label="chance said"
        )
        upper.set(xlim=(0, 48), ylim=(0, 102), xticks=range(0, 49, 12))
        dress(upper, y="plugged in, %" if column == 0 else "", title=f"{fan.asset_id}, {fan.rank}")
        upper.set_title(upper.get_title(loc="left"), loc="left", pad=15, fontsize=10, color=INK, fontweight="bold")
        upper.text(0, 1.02, f"from {issued:%a %d %b, %H:%M}", transform=upper.transAxes, fontsize=8.5, color=MUTED)
        if with_energy:
            _energy_fan(grid[1][column], fan, first=column == 0)
        grid[-1][column].set_xlabel("hours ahead", color=MUTED, fontsize=9)
    grid[0][0].legend(frameon=False, fontsize=8, labelcolor=INK, loc="upper left", bbox_to_anchor=(0, 0.96))
    return drawn


def _energy_fan(axes: Axes, fan: Fan, *, first: bool) -> None:
    low, median, high = (fan.forecast.energy_low_pct, fan.forecast.energy_median_pct, fan.forecast.energy_high_pct)
    if low is not None and median is not None and high is not None:
        axes.fill_between(fan.lead_h, low, high, color=STYLES[MODEL]["color"], alpha=0.2, lw=0, label="80 % band")
        axes.plot(fan.lead_h, median, color=STYLES[MODEL]["color"], lw=2, label="median")
    axes.plot(fan.actual_h, fan.actual_energy_pct, color=INK, lw=1.2, label="came")
    axes.set_ylim(0, 102)
    dress(axes, y="energy to full, % of the battery" if first else "")
    if first:
        axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="upper left")


def as_png(drawn: Figure, *, dpi: int = 150) -> bytes:
    """PNG for slides and mails."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=dpi, metadata={"Software": "plugcast"})
    return buffer.getvalue()


def as_svg(drawn: Figure, *, name: str) -> str:
    """SVG to put into a page: letters are paths, so that no font is asked for; ids begin with the name."""
    from matplotlib import rc_context  # noqa: PLC0415 - only drawing needs it

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": name}):
        drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
