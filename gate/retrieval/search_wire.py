"""What search services behind HTTP share: options, keys, and passages out of a reply. Pure: no sockets."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gate.errors import ConfigError, UpstreamError
from gate.http_wire import headers_without_keys, json_of, secret_of
from gate.types import Passage

FieldPath = Annotated[str, Field(min_length=1, max_length=256)]
"""Where something stands in a JSON object: names parted by dots, and places in lists as numbers from 0."""
_MOST_BODY = 8 * 2**20
"""Bytes of a reply: far more than any prompt holds."""
_MISSING = object()


class Described(BaseModel):
    """What every retriever of documents that are kept elsewhere may be told of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    embedder: str = ""
    """Who makes the vector of a query: a name among the policy's ``embedders``."""
    version: str = ""
    """Of what is searched. gate does not see documents change: say so here, and the certificate is void."""

    def fingerprint(self, kind: str) -> str:
        """Of the options but for where secrets are."""
        secrets = {name for name in type(self).model_fields if name.endswith("_env")}
        content = json.dumps([1, kind, self.model_dump(mode="json", exclude=secrets)], sort_keys=True)
        return f"{kind}:{hashlib.sha256(content.encode('utf-8', 'replace')).hexdigest()[:16]}"


class ServiceOptions(Described):
    """A search service behind HTTP. Its key comes from an environment variable only."""

    headers: dict[str, str] = {}
    """Sent with every request. Not for keys: they would stand in the policy."""
    api_key_env: str | None = None

    @field_validator("headers")
    @classmethod
    def _no_keys(cls, value: dict[str, str]) -> dict[str, str]:
        return headers_without_keys(value)


def header_secret(variable: str, what: str = "the key") -> str:
    """A secret that goes into a header. Raises `ConfigError` where it is not there, or could not be sent."""
    secret = secret_of(variable, what)
    if not secret.isascii() or not secret.isprintable():
        raise ConfigError(f"{what} in the environment variable {variable!r} is not printable ASCII")
    return secret


class ResultFields(BaseModel):
    """Where a result holds what. None: it holds no such thing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: FieldPath = "text"
    id: FieldPath | None = "id"
    """None: known by a hash of its text."""
    title: FieldPath | None = "title"
    url: FieldPath | None = "url"
    score: FieldPath | None = "score"

    @model_validator(mode="after")
    def _found_apart(self) -> Self:
        if self.id == self.text:
            raise ValueError("'id' and 'text' are the same field")
        return self


def sendable(text: str) -> str:
    """A query as any service takes it: without the control characters and half surrogate pairs that some choke on."""
    return _CONTROL.sub(" ", text).encode("utf-8", "replace").decode()


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def vector_of(name: str, vector: tuple[float, ...] | None) -> list[float]:
    if vector is None:
        raise UpstreamError(name, "was asked without the vector of the query, which it searches by")
    return list(vector)


def reply_json(name: str, status: int, headers: Mapping[str, str], body: bytes, key: str | None, option: str) -> Any:
    """The reply's JSON. Raises `UpstreamError` for what is none, an error status, and what is too long."""
    if len(body) > _MOST_BODY:
        raise UpstreamError(name, f"sent more than {_MOST_BODY // 2**20} MiB", status=status)
    return json_of(name, status, headers, body, key, option)


def results_in(name: str, data: Any, path: str) -> list[Any]:
    """The list of results at a path; "" is the reply itself. Null is an empty list, as some servers write it."""
    found = data if path == "" else at(data, path)
    if found is None:
        return []
    if not isinstance(found, list):
        raise UpstreamError(name, f"answered without a list of results at {path!r}" if path else "answered no list")
    return found


def passages_of(name: str, results: list[Any], fields: ResultFields) -> tuple[Passage, ...]:
    """The results as passages, in their order, those with an empty text left out.

    Raises `UpstreamError` naming the first result that does not hold what it should.
    """
    made = (_passage(name, number, result, fields) for number, result in enumerate(results, 1))
    return tuple(passage for passage in made if passage.text.strip())


def at(data: Any, path: str) -> Any:
    """What stands at a dotted path, or `_MISSING`. A key that holds the dots itself comes first."""
    if isinstance(data, dict) and path in data:
        return data[path]
    head, _, rest = path.partition(".")
    if isinstance(data, dict):
        below = data.get(head, _MISSING)
    elif isinstance(data, list) and re.fullmatch(r"[0-9]{1,6}", head) and int(head) < len(data):
        below = data[int(head)]
    else:
        return _MISSING
    return at(below, rest) if rest else below


def _passage(name: str, number: int, result: Any, fields: ResultFields) -> Passage:
    text = _text(at(result, fields.text))
    if text is None:
        raise UpstreamError(name, f"gave result {number} without a text at {fields.text!r}")
    id_ = hashlib.sha256(text.encode()).hexdigest()[:16]
    if fields.id is not None:
        found = at(result, fields.id)
        if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
            raise UpstreamError(name, f"gave result {number} without an id at {fields.id!r}")
        id_ = sendable(str(found))
    return Passage(
        id_,
        text,
        score=_score(name, number, result, fields.score),
        title=_beside(result, fields.title),
        source=_beside(result, fields.url),
    )


def _text(value: Any) -> str | None:
    """A text, or several as one; None for anything else."""
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        value = "\n".join(value)
    return sendable(value) if isinstance(value, str) else None


def _beside(result: Any, path: str | None) -> str:
    return "" if path is None else _text(at(result, path)) or ""


def _score(name: str, number: int, result: Any, path: str | None) -> float:
    """0 where results have none, as every passage without."""
    value = None if path is None else at(result, path)
    if value is None or value is _MISSING:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UpstreamError(name, f"gave result {number} a score at {path!r} that is no number")
    return float(value)
