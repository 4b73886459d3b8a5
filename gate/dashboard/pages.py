"""Makes pages of templates: what is not markup of ours is escaped, and every page forbids what it has no use for."""

from __future__ import annotations

import hashlib
import mimetypes
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from gate.dashboard import wording

_HERE = Path(__file__).parent
STATIC = ("style.css", "script.js", "icon.svg")
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # not no-referrer: browsers would then hide from us, too, where a form was sent from
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-robots-tag": "noindex",
}
_PRIVATE = {**HEADERS, "cache-control": "no-store"}
_KEPT = {**HEADERS, "cache-control": "public, max-age=31536000, immutable"}
_UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""Controls, halves of surrogate pairs and non-characters: no HTML document may hold them."""
_FILTERS = (
    *(wording.percent, wording.chosen, wording.count, wording.short, wording.counted, wording.money, wording.seconds),
    *(wording.number, wording.value, wording.signed, wording.moment, wording.clock, wording.in_full, wording.action),
    *(wording.done, wording.reason, wording.verdict, wording.standing, wording.stage, wording.one_in),
    wording.day,
)


class Pages:
    """The templates, read once."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_shown,
        )
        self._templates.filters.update({made.__name__: made for made in _FILTERS})
        self._templates.globals["asset"] = asset

    def html(self, name: str, **context: Any) -> str:
        return self._templates.get_template(f"{name}.html").render(context)

    def page(self, name: str, status: int = 200, **context: Any) -> Response:
        return HTMLResponse(self.html(name, **context), status, _PRIVATE)


def onward(to: str, status: int = 303) -> Response:
    """Sends the browser on, to a page of ours."""
    return Response(status_code=status, headers={**_PRIVATE, "location": to})


def static(name: str) -> Response:
    """A file that all pages load; it is no secret, for the login needs it too."""
    if name not in STATIC:
        return Response("there is no such file", 404, _PRIVATE, "text/plain")
    return Response(_content(name), 200, _KEPT, mimetypes.guess_type(name)[0] or "text/plain")


@cache
def asset(name: str) -> str:
    """Its address, which changes with its content, so that browsers may keep it."""
    return f"/dashboard/static/{name}?v={hashlib.sha256(_content(name)).hexdigest()[:12]}"


@cache
def _content(name: str) -> bytes:
    return (_HERE / "static" / name).read_bytes()


def _shown(value: Any) -> Any:
    if isinstance(value, str) and not isinstance(value, Markup):
        return _UNSHOWABLE.sub("\ufffd", value)
    return value
