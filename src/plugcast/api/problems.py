"""Errors as RFC 9457 problem documents: ``{"type", "title", "status", "detail", ...}``."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"

PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}


class ProblemResponse(JSONResponse):
    """A JSON answer of the problem media type."""

    media_type = MEDIA_TYPE


def problem(
    status: int, detail: str, *, errors: list[dict[str, str]] | None = None, headers: dict[str, str] | None = None
) -> ProblemResponse:
    """One problem document; ``errors`` names the offending members by JSON pointer."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        body["errors"] = errors
    return ProblemResponse(body, status_code=status, headers=headers)


def install(app: FastAPI, *, headers: dict[str, str]) -> None:
    """Answer every error with a problem document.

    Args:
        app: The application.
        headers: Put on the answer to an unforeseen error, which no middleware sees any more.
    """

    async def on_http(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - starlette hands over what was registered
        return problem(error.status_code, str(error.detail), headers=dict(error.headers or {}))

    async def on_invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
        issues = error.errors()
        if any(issue["type"] == "json_invalid" for issue in issues):
            return problem(400, "Wanted a JSON object; the body is not JSON.")
        found = [{"pointer": _pointer(issue["loc"]), "detail": str(issue["msg"])} for issue in issues]
        return problem(422, "; ".join(f"{item['pointer']}: {item['detail']}" for item in found), errors=found)

    async def on_unforeseen(_request: Request, _error: Exception) -> Response:
        return problem(500, "Something went wrong on this side; the server's log says what.", headers=headers)

    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(Exception, on_unforeseen)


def _pointer(location: tuple[Any, ...]) -> str:
    inside = [str(part) for part in location if part != "body"]
    return "#/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in inside)
