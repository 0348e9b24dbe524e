"""One finding's Shapley values as a picture: what makes the session odder, and what speaks against it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from plugcast.services.report_figures import as_png, dress, figure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

SHOWN: Final = 9
ODDER, PLAINER = "#D55E00", "#0072B2"
PARTS: Final = {
    "shapley": "All evidence (sampled)",
    "forest": "Isolation forest, shorter path (exact)",
    "faults": "Fault classifier, log-odds (exact)",
}


def picture_of(told: dict[str, Any], draw_below: Callable[[Axes], None] | None = None) -> bytes:
    """PNG of ``detect_run.explanation``; a finding of rules alone, without a model, says so.

    Args:
        told: The explanation.
        draw_below: Draws the session's meter values over the whole width, where it has any.
    """
    values = {"shapley": told["shapley"], **told["tree_shap"]}
    panels = [(PARTS[name], part) for name, part in values.items() if part]
    width = max(len(panels), 1)
    drawn = figure(max(4.6 * width, 9.2 if draw_below else 0), 8.4 if draw_below else 4.2)
    grid = drawn.add_gridspec(2 if draw_below else 1, width)
    if draw_below is not None:
        draw_below(drawn.add_subplot(grid[1, :]))
    drawn.suptitle(
        f"{told['cause'].replace('_', ' ')}: session {told['session_id']} at station {told['station_id'] or 'all'}",
        fontsize=11,
    )
    for place, (title, part) in enumerate(panels):
        _bars(drawn.add_subplot(grid[0, place]), title, part)
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
