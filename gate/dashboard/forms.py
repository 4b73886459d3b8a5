"""Reads what a browser sends: the fields of a form, the parameters of an address, the id in a path."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request

from gate.errors import RequestError

_MOST_BYTES = 64 * 2**10
_MOST_FIELDS = 20
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BACK = re.compile(r"/dashboard(?:/[A-Za-z0-9_-]+)*(?:\?[A-Za-z0-9_.~%&=+-]*)?")


async def read_form(request: Request) -> dict[str, str]:
    """The fields, each once. Raises `RequestError` for what no form of ours sends."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise RequestError("this takes a form as application/x-www-form-urlencoded", status=415)
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise RequestError(f"the form is larger than {_MOST_BYTES} bytes", status=413)
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:  # bytes beyond ASCII are of this kind too
        raise RequestError("the form cannot be read") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise RequestError("the form gives a field twice")
    return fields


def text_of(fields: Mapping[str, str], name: str, most: int) -> str:
    """A text as the person typed it, without space around it. Raises `RequestError` for a longer one."""
    text = fields.get(name, "").replace("\r\n", "\n").strip()
    if len(text) > most:
        raise RequestError(f"this text is longer than {most:,} characters", param=name)
    return text


def one_of(fields: Mapping[str, str], name: str, known: tuple[str, ...], otherwise: str) -> str:
    """A choice. Raises `RequestError` for one that is not offered."""
    said = fields.get(name) or otherwise
    if said not in known:
        raise RequestError("there is no such choice here", param=name)
    return said


def number_of(fields: Mapping[str, str], name: str) -> float | None:
    """A finite number, None where none is given. Raises `RequestError` for anything else."""
    said = fields.get(name, "")
    if not said:
        return None
    try:
        number = float(said)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RequestError("this is no number", param=name)
    return number


def id_of(said: str) -> str:
    """An id of a decision; "" where none is given. Raises `RequestError` for what can be none, saying no more."""
    if said and not _ID.fullmatch(said):
        raise RequestError("there is no such decision", status=404)
    return said


def way_back(said: str) -> str:
    """A page of the dashboard to go on to: nothing that leads elsewhere is one."""
    return said if _BACK.fullmatch(said) else "/dashboard"
