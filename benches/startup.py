"""What it costs to start: ``import plugcast`` and ``plugcast --help`` beside a bare interpreter."""

from __future__ import annotations

import sys

from benches.registry import Bar, BenchSpec, Outcome, Timing, interleave_commands

IMPORT_LIMIT = 2.0
"""The package's promise: importing it costs at most as much again as starting Python."""
HELP_LIMIT = 1.5
"""The verbs may add half of what a program of one empty verb costs."""

_ONE_VERB = """
import typer
app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
@app.command()
def verb() -> None: ...
app()
"""
_COMMANDS = {
    "bare": ("-c", "pass"),
    "import": ("-c", "import plugcast"),
    "one_verb_help": ("-c", _ONE_VERB, "--help"),
    "help": ("-c", "from plugcast.cli.app import main; main()", "--help"),
}


def run(size: str) -> Outcome:
    """Time the four programs in rotation."""
    commands = {name: (sys.executable, *arguments) for name, arguments in _COMMANDS.items()}
    timings = interleave_commands(commands, repeats={"small": 2, "full": 21}[size])
    return Outcome(
        data="none: each program starts, does one thing and ends",
        cases=[
            _case("import plugcast", timings["import"], "python -c pass", timings["bare"]),
            _case("plugcast --help", timings["help"], "python -c pass", timings["bare"]),
            _case("plugcast --help", timings["help"], "--help of one empty verb", timings["one_verb_help"]),
        ],
        bars=[
            _bar("import plugcast / bare interpreter", timings["import"], timings["bare"], IMPORT_LIMIT),
            _bar("plugcast --help / one empty verb", timings["help"], timings["one_verb_help"], HELP_LIMIT),
        ],
    )


def _case(name: str, timing: Timing, reference_name: str, reference: Timing) -> dict[str, object]:
    return {
        "case": name,
        "reference": reference_name,
        "cpu_s": timing.median_s,
        "cpu_low_s": timing.low_s,
        "cpu_high_s": timing.high_s,
        "peak_mb": timing.peak_mb,
        "reference_cpu_s": reference.median_s,
        "reference_peak_mb": reference.peak_mb,
        "ratio": timing.median_s / reference.median_s,
        "repeats": timing.repeats,
    }


def _bar(name: str, timing: Timing, reference: Timing, limit: float) -> Bar:
    return Bar(name=name, value=timing.median_s / reference.median_s, limit=limit, sense="at_most")


BENCH = BenchSpec(
    name="startup",
    description="CPU time and memory to start: import plugcast, plugcast --help.",
    run=run,
)
