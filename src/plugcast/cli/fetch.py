"""``plugcast fetch``: sessions from a service into a file."""

from __future__ import annotations

import gzip
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plugcast.cli.output import emit_json, err, out, progress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plugcast.adapters.acn.api import Download
    from plugcast.ports import SessionsRead

_SUFFIXES = (".jsonl", ".jsonl.gz")


def register(app: typer.Typer) -> None:
    """Add the verb group."""
    group = typer.Typer(
        name="fetch",
        help="Download charging sessions from a public service.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )

    @group.callback()
    def services() -> None:
        """Download charging sessions from a public service."""

    group.command("acn")(acn)
    app.add_typer(group)


def acn(
    *,
    site: Annotated[str, typer.Option(help="caltech, jpl or office001.")],
    since: Annotated[str, typer.Option(help="First plug-in: a date (UTC midnight) or a time with its offset.")],
    until: Annotated[str, typer.Option(help="First plug-in after the window, like --since.")],
    out_path: Annotated[Path, typer.Option("--out", help="File to write: .jsonl or .jsonl.gz.")],
    token: Annotated[
        str,
        typer.Option(
            envvar="PLUGCAST_ACN_TOKEN", help="ACN-Data's API token; better kept in the variable.", show_default=False
        ),
    ] = "",
    state: Annotated[
        Path | None, typer.Option(help="Directory for finished pages; by default the file's name + .state.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the pages of an interrupted download.")] = False,
    series: Annotated[
        bool, typer.Option("--series", help="With each session's current and pilot, for detect --meter.")
    ] = False,
    base_url: Annotated[str, typer.Option(help="The API's root.")] = "https://ev.caltech.edu/api/v1/",
    attempts: Annotated[int, typer.Option(min=1, max=20, help="Attempts for each page.")] = 6,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Download ACN-Data sessions that began in [since, until) as native JSON lines.

    An interrupted download goes on where it stopped when the same command is given again.
    """
    from plugcast.adapters.acn.api import AcnApi
    from plugcast.adapters.acn.client import ClientSettings
    from plugcast.adapters.acn.state import discard

    if not out_path.name.endswith(_SUFFIXES):
        raise typer.BadParameter(
            f"wanted a name that ends in .jsonl or .jsonl.gz, found {out_path.name}", param_hint="--out"
        )
    if not out_path.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no directory {out_path.absolute().parent}", param_hint="--out")
    state_path = state or out_path.with_name(out_path.name + ".state")
    if fresh:
        discard(state_path)
    with progress() as bar:
        task = bar.add_task(f"{site} sessions", total=None)
        api = AcnApi(
            site,
            token,
            since=_instant(since, "--since"),
            until=_instant(until, "--until"),
            base_url=base_url,
            settings=ClientSettings(attempts=attempts),
            series=series,
            state_path=state_path,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
        download = api.download()
    write_lines(out_path, download.records)
    discard(state_path)
    _report(api.booked(download), download, out_path, as_json=as_json)


def _instant(text: str, option: str) -> datetime:
    """A date (UTC midnight) or a time with an offset."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"wanted a date like 2019-03-01, found {text!r}", param_hint=option) from None
    if found.tzinfo is not None:
        return found
    if len(text) > len("2019-03-01"):
        raise typer.BadParameter(f"wanted an offset from UTC with the time, as in {text}Z", param_hint=option)
    return found.replace(tzinfo=UTC)


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Write lines so that the name holds its old content or the new one; gzip where the name says so.

    Raises:
        UnreadableInputError: The file cannot be written.
    """
    from plugcast.errors import UnreadableInputError

    content = b"".join(line + b"\n" for line in lines)
    if path.name.endswith(".gz"):
        content = gzip.compress(content, mtime=0)
    try:
        handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(draft).chmod(0o644)
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UnreadableInputError(f"{path}: could not be written: {error}.") from error


def _report(read: SessionsRead, download: Download, path: Path, *, as_json: bool) -> None:
    counts = read.counts
    if as_json:
        emit_json(
            {
                "out": str(path),
                "counts": {
                    "read": counts.read,
                    "accepted": counts.accepted,
                    "rejected": counts.rejected,
                    "duplicates": counts.duplicates,
                },
                "user_inputs": read.user_inputs.height,
                "announced": download.total,
                "pages": download.pages,
                "resumed_pages": download.resumed_pages,
                "rejected": read.rejected,
            }
        )
        return
    resumed = f", {download.resumed_pages} of them from an earlier run" if download.resumed_pages else ""
    out().print(
        f"{path}: {counts.read} sessions read, {counts.accepted} accepted, {counts.rejected} rejected, "
        f"{counts.duplicates} duplicates; {read.user_inputs.height} declarations; {download.pages} pages{resumed}.",
        highlight=False,
        markup=False,
    )
    for row in read.rejected[:5]:
        err().print(f"record {row.row}: {row.reason.value}: {row.detail}", highlight=False, markup=False)
