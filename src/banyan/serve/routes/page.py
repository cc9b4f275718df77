"""The playground page: static files inside the package, which hold no data and need no network."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import Response

from banyan.serve.errors import not_found

router = APIRouter()

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    # Nothing is loaded from elsewhere, nothing runs that is not ours, nobody frames the page.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}


@cache
def _assets() -> dict[str, bytes]:
    """Read all files of the page; a request can then only name one of them."""
    folder = files("banyan.serve").joinpath("assets")
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if _suffix(entry.name) in _TYPES}


@router.get("/", include_in_schema=False)
async def page() -> Response:
    """Show the page."""
    return _file("index.html")


@router.get("/assets/{name}", include_in_schema=False)
async def asset(name: str) -> Response:
    """Give one of the page's files."""
    return _file(name)


def _file(name: str) -> Response:
    if name not in _assets():
        raise not_found()
    return Response(_assets()[name], media_type=_TYPES[_suffix(name)], headers=_HEADERS)


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
