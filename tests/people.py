"""Whom alerts are sent to in tests: a mail server and a webhook receiver, both real."""

from __future__ import annotations

import email
import socket
import subprocess
import sys
from email import policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from plugcast.adapters.notify.mail import MailChannel

if TYPE_CHECKING:
    from email.message import EmailMessage

ROOT = Path(__file__).resolve().parents[1]
SECRET = b"0123456789abcdef"


class MailServer:
    """scripts/mail_sink.py as a process that may be stopped and started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port: int = taken.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, str(ROOT / "scripts" / "mail_sink.py")]
        self._process = subprocess.Popen([*command, "--port", str(self.port), "--folder", str(self.folder)])

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def mails(self) -> list[EmailMessage]:
        found = [path.read_bytes() for path in sorted(self.folder.glob("*.eml"))]
        return [email.message_from_bytes(content, policy=policy.default) for content in found]

    def last_at(self) -> float:
        """When the newest mail was taken, seconds of the epoch."""
        return max(path.stat().st_mtime for path in self.folder.glob("*.eml"))

    def channel(self, *receivers: str) -> MailChannel:
        to = receivers or ("operator@example.org",)
        return MailChannel(host="127.0.0.1", port=self.port, sender="plugcast@example.org", receivers=to)


class Receiver(ThreadingHTTPServer):
    """Answers what it is told to, and keeps what it is sent."""

    def __init__(self, *answers: tuple[int, dict[str, str]]) -> None:
        self.answers = list(answers)
        self.got: list[tuple[dict[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        self.thread = Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        status, headers = self.server.answers.pop(0) if self.server.answers else (204, {})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
