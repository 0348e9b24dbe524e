"""The page's own scripts, styles and pictures: held in memory, fingerprinted as a whole, compressed once.

All assets live under ``/static/<fingerprint>/``. The fingerprint changes with any byte of any asset, so that a
browser may keep them for ever, and modules find one another by relative paths inside the same version.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import jinja2
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

    from starlette.requests import Request

MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".md": "text/plain; charset=utf-8",
    "": "text/plain; charset=utf-8",
}
FOR_EVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file, plain and compressed."""

    media_type: str
    body: bytes
    compressed: bytes
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """All files by their path below ``static/``, and the fingerprint of the whole."""

    fingerprint: str
    by_path: dict[str, Asset]

    def url(self, path: str) -> str:
        """Where the browser finds one; an unknown path is a mistake in a template.

        Raises:
            KeyError: There is no such asset.
        """
        self.by_path[path]
        return f"/static/{self.fingerprint}/{path}"

    def answer(self, request: Request, fingerprint: str, path: str) -> Response | None:
        """The response for one asset; None where there is none of this version."""
        asset = self.by_path.get(path)
        if asset is None or fingerprint != self.fingerprint:
            return None
        headers = {"etag": asset.etag, "cache-control": FOR_EVER, "vary": "accept-encoding"}
        if asset.etag in {tag.strip() for tag in request.headers.get("if-none-match", "").split(",")}:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            return Response(asset.compressed, media_type=asset.media_type, headers=headers)
        return Response(asset.body, media_type=asset.media_type, headers=headers)


@cache
def load() -> Assets:
    """Read every asset of the installed package, once."""
    whole = hashlib.sha256()
    by_path = {}
    for path, body in sorted(_walk(files("plugcast.api") / "dashboard" / "static", "")):
        digest = hashlib.sha256(body).hexdigest()
        whole.update(f"{path}\0{digest}\n".encode())
        suffix = "." + path.rpartition(".")[2] if "." in path else ""
        by_path[path] = Asset(
            media_type=MEDIA_TYPES[suffix],
            body=body,
            compressed=gzip.compress(body, mtime=0),
            etag=f'W/"{digest[:20]}"',
        )
    return Assets(fingerprint=whole.hexdigest()[:12], by_path=by_path)


@cache
def template(name: str) -> jinja2.Template:
    """A page of the installed package, which knows where its assets are."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("plugcast.api", "dashboard/templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["asset"] = load().url
    return environment.get_template(name)


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry.read_bytes()
