"""One finding's Shapley values as a picture: what makes the session odder, and what speaks against it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from plugcast.services.report_figures import as_png, dress, figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

SHOWN: Final = 9
ODDER, PLAINER = "#D55E00", "#0072B2"
PARTS: Final = {
    "shapley": "All evidence (sampled)",
    "forest": "Isolation forest, shorter path (exact)",
    "faults": "Fault classifier, log-odds (exact)",
}


def picture_of(told: dict[str, Any]) -> bytes:
    """PNG of ``detect_run.explanation``; a finding of rules alone, without a model, says so."""
    values = {"shapley": told["shapley"], **told["tree_shap"]}
    panels = [(PARTS[name], part) for name, part in values.items() if part]
    drawn = figure(4.6 * max(len(panels), 1), 4.2)
    drawn.suptitle(
        f"{told['cause'].replace('_', ' ')}: session {told['session_id']} at station {told['station_id'] or 'all'}",
        fontsize=11,
    )
    for place, (title, part) in enumerate(panels):
        _bars(drawn.add_subplot(1, len(panels), place + 1), title, part)
    if not panels:
        drawn.text(0.5, 0.5, "No model judged this session: its rules explain themselves.", ha="center")
    return as_png(drawn)


def _bars(axes: Axes, title: str, part: Sequence[tuple[str, float]]) -> None:
    """The largest values, either way, the oddest on top."""
    largest = sorted(part, key=lambda item: -abs(item[1]))[:SHOWN]
    ordered = sorted(largest, key=lambda item: item[1])
    places = range(len(ordered))
    axes.barh(places, [value for _, value in ordered], color=[ODDER if v > 0 else PLAINER for _, v in ordered])
    axes.set_yticks(places, [name for name, _ in ordered], fontsize=8)
    axes.axvline(0, color="#1b1f24", linewidth=0.8)
    dress(axes, title=title, x="makes it odder  →")
