"""What every HTTP dialect shares: addresses, keys, errors in gate's own words, JSON as servers send it. No sockets."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from gate.errors import ConfigError, UpstreamError
from gate.well_known_secrets import refuse_well_known

_RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_SECRET = re.compile(r"(sk-|Bearer\s+|api[_-]?key[=:\s]+)[^\s\"',}]{4,}", re.IGNORECASE)
_KEY_HEADERS = frozenset({"authorization", "x-api-key", "api-key"})
_CAUSE = 300
BROKEN = object()
"""What `parsed` makes of a body that is no JSON."""
BROKEN_OFF = "broke the connection off before its answer was complete"


# --- options -----------------------------------------------------------------------------------------------------


def http_address(value: str, *, example: str) -> str:
    """The address of a server without a slash at its end. Raises ValueError for anything else."""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"must be an http or https address such as {example}")
    if parts.username or parts.password:
        raise ValueError("must hold no user name or password: use api_key_env")
    if parts.query or parts.fragment:
        raise ValueError(f"must end with the path, such as …/{example.rsplit('/', 1)[-1]}")
    return value.rstrip("/")


def headers_without_keys(headers: dict[str, str]) -> dict[str, str]:
    """The headers, when they can be sent and hold no key. Raises ValueError otherwise."""
    for name, text in headers.items():
        if name.casefold() in _KEY_HEADERS:
            raise ValueError(f"the header {name!r} holds a key: use api_key_env or api_key_file")
        if not (name + text).isprintable() or not (name + text).isascii():
            raise ValueError(f"the header {name!r} must be printable ASCII")
    return headers


def secret_of(variable: str, what: str = "the key") -> str:
    """What an environment variable holds. Raises `ConfigError` where that is nothing, or a key that everybody knows.

    The error names the variable and never what is in it.
    """
    secret = os.environ.get(variable, "").strip()
    if not secret:
        raise ConfigError(f"the environment variable {variable!r} is not set: it must hold {what}")
    refuse_well_known(secret, f"the environment variable {variable!r}")
    return secret


# --- replies -----------------------------------------------------------------------------------------------------


def json_of(upstream: str, status: int, headers: Mapping[str, str], body: bytes, key: str | None, option: str) -> Any:
    """The JSON of a reply of success. Raises `UpstreamError` for an error status, HTML and broken JSON.

    ``option`` is that of the address, for whoever reads the error.
    """
    data = parsed(body)
    if status >= 400:
        raise refusal(upstream, status, headers, body, data, key, option)
    if not 200 <= status < 300:
        raise other_status(upstream, status, option)
    if data is BROKEN:
        raise UpstreamError(upstream, not_json(body, option), status=status, retryable=not is_html(body))
    return data


def other_status(upstream: str, status: int, option: str) -> UpstreamError:
    return UpstreamError(upstream, f"answered with status {status}, not 200 (is {option} right?)", status=status)


def parsed(body: bytes) -> Any:
    """The body's JSON. What strict JSON refuses and servers send all the same (half surrogate pairs, NaN) is taken."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            return json.loads(body, parse_int=_int)
        except (ValueError, RecursionError):
            return BROKEN


def _int(digits: str) -> int | float:
    """An integer; a float where 64 bits may not hold it, much as orjson has it: no count or price is that large."""
    return int(digits) if len(digits) < 19 else float(digits)


def is_html(body: bytes) -> bool:
    return body.lstrip()[:1] == b"<"


def not_json(body: bytes, option: str) -> str:
    if not body.strip():
        return "answered with an empty body"
    if is_html(body):
        return f"answered HTML, not JSON (is {option} right?)"
    return "answered with broken JSON"


def refusal(
    upstream: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    data: Any,
    key: str | None,
    option: str,
    param: str | None = None,
) -> UpstreamError:
    cause = f"refused with status {status}" if status >= 400 else "answered with an error"
    return UpstreamError(
        upstream,
        f"{cause}: {not_json(body, option)}" if data is BROKEN else cause,
        said=masked(_message(data), key),
        param=param,
        status=status,
        retryable=status in _RETRYABLE,
        retry_after=retry_after(headers),
    )


def _message(data: Any) -> str:
    """The server's own words, wherever its dialect puts them."""
    if not isinstance(data, dict):
        return ""
    error = data.get("error", data)
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error.get("reason") or error.get("code") or ""
    return error if isinstance(error, str) else _text(error)


def _text(value: Any) -> str:
    try:
        return json.dumps(value, separators=(",", ":"))
    except RecursionError:
        return ""


def masked(text: str, key: str | None) -> str:
    """One short line with anything that looks like a key taken out."""
    if key:
        text = text.replace(key, "***")
    line = " ".join(_SECRET.sub(lambda found: f"{found[1]}***", text).split())
    return line if len(line) <= _CAUSE else line[: _CAUSE - 1] + "…"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from ``retry-after-ms`` or ``Retry-After`` (seconds or an HTTP date); None when not told."""
    lowered = {name.lower(): value for name, value in headers.items()}
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        seconds = _seconds(lowered.get(name, ""))
        if seconds is not None:
            return max(0.0, seconds * scale)
    return None


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        pass
    else:
        return value if math.isfinite(value) else None
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()
