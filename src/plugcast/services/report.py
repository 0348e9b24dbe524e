"""A backtest as one HTML page that needs nothing else: pictures inside, no script, no request to anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from math import isnan
from typing import TYPE_CHECKING, Any, Final

from plugcast.adapters.files import write_atomic
from plugcast.forecast.contenders import MODEL
from plugcast.services import report_figures as pictures
from plugcast.services import report_tables as tables
from plugcast.services.report_figures import lead_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from plugcast.services.backtesting import Tested

STYLE: Final = """
:root { color-scheme: light; --ink: #1b1f24; --muted: #59636e; --line: #d8dee4; --blue: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; background: #f4f6f8; color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0 0 .4rem; max-width: 46rem; }
h2 { font-size: 1.15rem; line-height: 1.35; margin: 0 0 .35rem; max-width: 52rem; }
p { margin: .3rem 0 .8rem; max-width: 46rem; }
.lead, .note, figcaption { color: var(--muted); }
.note { font-size: .9rem; }
section, .tile { background: #fff; border: 1px solid var(--line); border-radius: 10px; }
section { padding: 1.25rem 1.4rem; margin-top: 1.2rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .8rem; margin-top: 1.2rem; }
.tile { padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.55rem; line-height: 1.2; color: var(--blue); }
.tile span { color: var(--muted); font-size: .87rem; line-height: 1.35; display: block; }
figure { margin: .6rem 0 0; overflow-x: auto; }
figure svg { display: block; width: 100%; min-width: 40rem; height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--muted); padding-bottom: .4rem; }
th, td { padding: .34rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
thead th { color: var(--muted); font-weight: 600; }
td.best { font-weight: 700; color: var(--blue); }
small { color: var(--muted); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; margin: .4rem 0 0; font-size: .93rem; }
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; } }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One figure with the sentence that it supports."""

    name: str
    title: str
    caption: str
    drawn: Figure


def picture_list(tested: Tested) -> list[Picture]:
    """Every figure of a backtest, the most telling first."""
    document = tested.document
    zone, what = document["data"]["time_zone"], document["data"]["kind"]
    made = [
        _picture(
            "skill_by_lead", "Squared error of the stated chance, by how far it looks ahead", pictures.by_lead(document)
        ),
        _picture("reliability", pictures.reliability_title(document), pictures.reliability(document)),
        _picture("energy", pictures.energy_title(document), pictures.energy(document)),
        _picture(
            "fans",
            f"48 hours ahead of a well, a typically and a badly forecast {what}",
            pictures.fans(tested.fans, zone),
            more=f" Clock: {zone}.",
        ),
        _picture("folds", _fold_title(document), pictures.by_fold(document)),
    ]
    return [picture for picture in made if picture is not None]


CAPTIONS: Final = {
    "skill_by_lead": """Left: mean squared error of the stated chance; bands are 95 % intervals. Right: what is saved
against the better of persistence and the hour-of-week profile, and against their logistic blend, on the same rows.""",
    "reliability": """A dot on the dashed line is a chance that came true as often as stated. Larger dots were stated
more often; chances stated fewer than 50 times have none. Below: how often each chance was stated.""",
    "energy": "Left: error of the median. Right: share of outcomes between the 10 and the 90 % quantile.",
    "fans": "Chosen by rank (10, 50, 90 %) of their own score, not by looks.",
    "folds": "Each fold's models learnt from what was known when it began.",
}


def _picture(name: str, title: str, drawn: Figure | None, *, more: str = "") -> Picture | None:
    return None if drawn is None else Picture(name=name, title=title, caption=CAPTIONS[name] + more, drawn=drawn)


def _fold_title(document: dict[str, Any]) -> str:
    row = min(document["leads"], key=lambda each: abs(each["lead_min"] - 360))
    won = sum(fold["brier"][MODEL] <= min(fold["brier"].values()) for fold in row["folds"])
    return f"The model is best in {won} of {len(row['folds'])} folds, {lead_name(row['lead_min'])} ahead"


def write_html(tested: Tested, made: Sequence[Picture], path: Path) -> None:
    """Write the page, whole or not at all."""
    write_atomic(path, html(tested, made).encode())


def write_png(made: Sequence[Picture], folder: Path, *, dpi: int = 150) -> list[Path]:
    """Write each figure as ``<name>.png`` into the folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for picture in made:
        path = folder / f"{picture.name}.png"
        write_atomic(path, pictures.as_png(picture.drawn, dpi=dpi))
        written.append(path)
    return written


def html(tested: Tested, made: Sequence[Picture]) -> str:
    """The page with its pictures (``picture_list``)."""
    document = tested.document
    drawn = "".join(_section(picture) for picture in made)
    title = f"Backtest: {document['data']['site']}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f"<p class=lead>{escape(title)}</p><h1>{escape(pictures.skill_title(document))}</h1>"
        f"<p class=lead>{escape(_summary(document))}</p>{_tiles(document)}{drawn}"
        f"{tables.plug(document)}{tables.energy(document)}{tables.described(document)}</main></body></html>\n"
    )


def _summary(document: dict[str, Any]) -> str:
    data, split = document["data"], document["split"]
    tested = {
        "time": "on later time than it learnt from",
        "unseen": f"on {data['kind']}s that it never saw, in later time",
        "site": "on sites that it never saw, in later time",
        "regime": f"on what came after {split['at']:%Y-%m-%d}" if split["at"] else "",
    }[split["kind"]]
    return (
        f"{data['assets']:,} {data['kind']}s, {data['samples']:,} samples, {data['first_at']:%Y-%m-%d} to "
        f"{data['last_at']:%Y-%m-%d}. Everything below was measured {tested}."
    )


def _tiles(document: dict[str, Any]) -> str:
    near = min(document["leads"], key=lambda row: abs(row["lead_min"] - 360))
    far = document["leads"][-1]
    told = [_saved(row) for row in ([near, far] if near is not far else [near])]
    gap = max(row["plug"][MODEL]["ece"] for row in document["leads"])
    told.append((f"{100 * gap:.1f} points", "largest mean gap between stated chance and what came"))
    energy = near.get("energy", {}).get(MODEL)
    if energy:
        told.append(
            (
                f"{energy['mae_pct'].value:.1f} %",
                f"of the battery: error of energy to full, {lead_name(near['lead_min'])} ahead",
            )
        )
    told.append((f"{document['split']['origins_audited']}", "forecasts repeated without the future, all the same"))
    cells = "".join(f"<div class=tile><b>{escape(value)}</b><span>{escape(text)}</span></div>" for value, text in told)
    return f"<div class=tiles>{cells}</div>"


def _saved(row: dict[str, Any]) -> tuple[str, str]:
    skill = row["skill"]["below_better_baseline"]
    sure = "" if isnan(skill.low) else f" ({100 * skill.low:.0f} to {100 * skill.high:.0f} %)"
    return (
        f"{100 * skill.value:.1f} %",
        f"of the better baseline's squared error saved, {lead_name(row['lead_min'])} ahead{sure}",
    )


def _section(picture: Picture) -> str:
    svg = pictures.as_svg(picture.drawn, name=picture.name)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(picture.title)}" ', 1)
    return (
        f"<section><h2>{escape(picture.title)}</h2><figure>{svg}"
        f"<figcaption class=note>{escape(picture.caption)}</figcaption></figure></section>"
    )
