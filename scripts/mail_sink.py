"""A mail server for tests: takes every message over real SMTP and keeps it as one .eml file in a folder.

The envelope stands in the file's ``X-Envelope-From`` and ``X-Envelope-To``. A recipient whose name begins with
``refuse`` is refused for good (550), one that begins with ``later`` for now (451), so that both can be tested.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import time
from pathlib import Path
from typing import Final

from aiosmtpd.smtp import SMTP, Envelope, Session

MAX_MESSAGE_BYTES: Final = 10_000_000


class Keeper:
    """Writes each message under a name that sorts by arrival; a file is whole or not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take the recipient, unless its name asks for a refusal."""
        if address.startswith("refuse"):
            return "550 5.1.1 No such mailbox here"
        if address.startswith("later"):
            return "451 4.3.0 Mailbox busy, try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        """Keep the message; it is on the disk before the sender is told so."""
        name = f"{time.time_ns():020d}-{os.getpid()}-{next(self._numbers):06d}"
        head = f"X-Envelope-From: {envelope.mail_from}\r\nX-Envelope-To: {', '.join(envelope.rcpt_tos)}\r\n"
        content = envelope.content or b""
        body = content if isinstance(content, bytes) else content.encode()
        unfinished = self._folder / f".{name}"
        with unfinished.open("wb") as file:
            file.write(head.encode() + body)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._folder / f"{name}.eml")
        return "250 Kept"


async def serve(port: int, folder: Path) -> None:
    """Take mail until the process ends."""
    keeper = Keeper(folder)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(keeper, hostname="localhost", data_size_limit=MAX_MESSAGE_BYTES, enable_SMTPUTF8=True),
        host="127.0.0.1",
        port=port,
    )
    async with server:
        await server.serve_forever()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Keep every mail as a file.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(serve(options.port, options.folder))


if __name__ == "__main__":
    main()
