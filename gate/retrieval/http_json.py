"""One's own JSON endpoint: ``{"query": …, "k": …}`` in, a list of results out, under whatever names it has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlencode

from pydantic import BaseModel, Field, field_validator, model_validator

from gate.effects import Retrieve
from gate.http_wire import http_address
from gate.ports import HttpRequest
from gate.retrieval.search_wire import (
    FieldPath,
    ResultFields,
    ServiceOptions,
    header_secret,
    passages_of,
    reply_json,
    results_in,
    sendable,
    vector_of,
)
from gate.types import Passage

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$", max_length=64)]


class HttpJsonOptions(ServiceOptions):
    url: str
    method: Literal["POST", "GET"] = "POST"
    """With GET everything stands in the address."""
    query_field: str = Field(default="query", min_length=1)
    k_field: str | None = "k"
    """The most results; None: do not send it."""
    vector_field: str | None = None
    """Of the query, for a service that searches by it; goes with ``embedder``."""
    send: dict[str, Any] = Field(default={})
    """Sent along, always the same."""
    api_key_header: HeaderName = "Authorization"
    """In ``Authorization`` the key follows the word ``Bearer``; in any other header it stands alone."""
    results: FieldPath | Literal[""] = "results"
    """Where the list of results stands in the reply; "" where the reply is that list."""
    fields: ResultFields = ResultFields()

    @field_validator("url")
    @classmethod
    def _address(cls, value: str) -> str:
        http_address(value, example="http://127.0.0.1:8080/search")
        return value

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if bool(self.embedder) != (self.vector_field is not None):
            raise ValueError("'embedder' and 'vector_field' go together")
        if self.method == "GET" and self.vector_field is not None:
            raise ValueError("a vector is too long for an address: use method POST")
        if self.method == "GET" and any(isinstance(value, dict | list) for value in self.send.values()):
            raise ValueError("'send' must hold plain values where method is GET")
        return self


@dataclass(frozen=True, slots=True)
class HttpJson:
    """Fits `WireRetriever`."""

    kind: ClassVar[str] = "http_json"
    Options: ClassVar[type[BaseModel]] = HttpJsonOptions

    name: str
    options: HttpJsonOptions
    key: str | None = field(repr=False)

    @classmethod
    def from_options(cls, name: str, options: HttpJsonOptions) -> Self:
        return cls(name, options, header_secret(options.api_key_env) if options.api_key_env else None)

    @property
    def embedder(self) -> str:
        return self.options.embedder

    @property
    def fingerprint(self) -> str:
        return self.options.fingerprint(self.kind)

    def encode(self, effect: Retrieve) -> HttpRequest:
        options = self.options
        asked: dict[str, Any] = {**options.send, options.query_field: sendable(effect.query)}
        if options.k_field is not None:
            asked[options.k_field] = effect.k
        if options.vector_field is not None:
            asked[options.vector_field] = vector_of(self.name, effect.vector)
        headers = {"accept": "application/json", **options.headers}
        if self.key is not None:
            bearer = options.api_key_header.casefold() == "authorization"
            headers[options.api_key_header.lower()] = f"Bearer {self.key}" if bearer else self.key
        if options.method == "GET":
            plain = {name: value if isinstance(value, str) else json.dumps(value) for name, value in asked.items()}
            return HttpRequest(f"{options.url}?{urlencode(plain, errors='replace')}", headers, {}, "GET")
        return HttpRequest(options.url, {"content-type": "application/json", **headers}, asked)

    def decode(self, status: int, headers: Mapping[str, str], body: bytes) -> tuple[Passage, ...]:
        data = reply_json(self.name, status, headers, body, self.key, "url")
        return passages_of(self.name, results_in(self.name, data, self.options.results), self.options.fields)
