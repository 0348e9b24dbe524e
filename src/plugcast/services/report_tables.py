"""The tables of a backtest's page: every figure with its interval, and what it was made from. Cells are HTML."""

from __future__ import annotations

from html import escape
from math import isnan
from typing import TYPE_CHECKING, Any, Final

from plugcast.forecast.contenders import BLEND, MODEL
from plugcast.services.report_figures import label_of, lead_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from plugcast.forecast.bootstrap import Interval

INTERVAL: Final = "<small>95 % interval</small>"
METHODS: Final = {
    "Persistence": "the state stays as it is",
    "Hour of the week": "own share plugged in at that local hour of the week before, shrunk towards that of all",
    "Blend": "logistic regression of the outcome on both, one for each lead",
}
BEST: Final = "*"
"""Marks the cell of the best forecast at a lead."""


def _with_interval(interval: Interval, scale: float = 1.0, digits: int = 4) -> str:
    low, value, high = (scale * each for each in (interval.low, interval.value, interval.high))
    if isnan(low) or isnan(high):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} <small>{low:.{digits}f} to {high:.{digits}f}</small>"


def plug(document: dict[str, Any]) -> str:
    """Plug state: every contender at every lead."""
    head = [
        "lead",
        "forecast",
        f"Brier {INTERVAL}",
        "log loss",
        "AUC",
        "mean gap",
        f"saved, % {INTERVAL}",
        "rows",
    ]
    body = [line for row in document["leads"] for line in _plug_lines(row)]
    caption = (
        "Saved: share of the forecast's Brier score that the model saves (for the model itself: against the better of "
        "persistence and hour of the week)."
    )
    return f"<section><h2>Will it be plugged in? Every figure</h2>{_table(head, body, caption)}</section>"


def _plug_lines(row: dict[str, Any]) -> Iterator[list[str]]:
    best = min(each["brier"].value for each in row["plug"].values())
    for name, each in row["plug"].items():
        saved = {MODEL: "below_better_baseline", BLEND: "below_blend"}.get(name)
        cell = _with_interval(row["skill"][saved], 100, 1) if saved in row["skill"] else ""
        mark = BEST if each["brier"].value == best else ""
        yield [
            lead_name(row["lead_min"]) if name == MODEL else "",
            escape(label_of(name)),
            mark + _with_interval(each["brier"]),
            f"{each['log_loss']:.3f}",
            f"{each['auc']:.4f}",
            f"{each['ece']:.4f}",
            cell,
            f"{row['rows']:,}" if name == MODEL else "",
        ]


def energy(document: dict[str, Any]) -> str:
    """Energy to full; empty without a state of charge."""
    rows = [row for row in document["leads"] if row.get("energy")]
    if not rows:
        return ""
    head = [
        "lead",
        "forecast",
        f"MAE, % {INTERVAL}",
        "CRPS, %",
        "coverage of 80 %",
        "width, %",
        "SMAPE of |y|+|p|",
        "SMAPE of half of it",
    ]
    body = [line for row in rows for line in _energy_lines(row)]
    caption = "In % of the battery. By definition one SMAPE is twice the other; compare like with like."
    return f"<section><h2>How far from full? Every figure</h2>{_table(head, body, caption)}</section>"


def _energy_lines(row: dict[str, Any]) -> Iterator[list[str]]:
    best = min(each["mae_pct"].value for each in row["energy"].values())
    for name, each in row["energy"].items():
        yield [
            lead_name(row["lead_min"]) if name == MODEL else "",
            escape(label_of(name)),
            (BEST if each["mae_pct"].value == best else "") + _with_interval(each["mae_pct"], digits=2),
            f"{each['crps_pct'].value:.2f}",
            f"{100 * each['coverage_80'].value:.1f} %" if "coverage_80" in each else "",
            f"{each['width_80_pct']:.1f}" if "width_80_pct" in each else "",
            f"{each['smape_1']:.1f} %",
            f"{each['smape_2']:.1f} %",
        ]


def _table(head: Sequence[str], body: Sequence[Sequence[str]], caption: str) -> str:
    """Cells are HTML already; one that starts with ``*`` is the best of its lead."""
    cells = "".join(f'<th scope="col">{each}</th>' for each in head)
    lines = "".join(
        "<tr>"
        + "".join(f"<td class=best>{each[1:]}</td>" if each.startswith(BEST) else f"<td>{each}</td>" for each in line)
        + "</tr>"
        for line in body
    )
    return (
        f'<div class=scroll tabindex="0"><table><caption>{escape(caption)}</caption><thead><tr>{cells}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def described(document: dict[str, Any]) -> str:
    """What was read, how it was tested, and on which machine."""
    data, machine = document["data"], document["machine"]
    first, last = (f"{data[name]:%Y-%m-%d %H:%M}" for name in ("first_at", "last_at"))
    plugged, late = f"{100 * data['plugged_share']:.0f} %", f"{data['samples_late']:,}"
    lines = {
        "Source": data["source"],
        "Span": f"{first} to {last} UTC; local clock {data['time_zone']}",
        "Samples": f"{data['samples']:,} of {data['assets']:,} {data['kind']}s, plugged in {plugged} of the time",
        "Late samples": f"{late}, not used: newer ones had come before",
        "Left out": data["left_out"],
        **{f"Fold {fold['name']}": _fold(fold, data["kind"]) for fold in document["split"]["folds"]},
        "Intervals": f"95 %, pigeonhole bootstrap over {document['leads'][0]['blocks']}, 1,000 draws",
        **METHODS,
        "Machine": f"{machine['cores']} cores, {machine['cpu']}, {machine['system']}, Python {machine['python']}",
        "Run": f"{machine['threads']} thread(s), {document['seconds']:g} s",
    }
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in lines.items() if text)
    return f"<section><h2>Data, method and machine</h2><dl>{rows}</dl></section>"


def _fold(fold: dict[str, Any], kind: str) -> str:
    hidden = f" without its {fold['assets_hidden']} {kind}s" if fold["assets_hidden"] else ""
    learnt, until = f"{fold['learnt_from_samples']:,}", f"{fold['learnt_until']:%Y-%m-%d %H:%M}"
    return f"learnt from {learnt} samples known by {until} UTC{hidden}; tested to {fold['tested_until']:%Y-%m-%d %H:%M}"
