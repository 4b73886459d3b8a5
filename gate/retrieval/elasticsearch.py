"""Elasticsearch and OpenSearch: ``POST …/_search``, by words, by vector, or by a query of one's own."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gate.effects import Retrieve
from gate.errors import UpstreamError
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

_MOST_WORDS = 512
"""Of a query: half of the clauses that either server allows by default."""
_NAMED = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_KNOWN = frozenset({"query", "k", "vector"})


class SourceFields(BaseModel):
    """Names of a document's fields. None: it has no such field."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: FieldPath = "text"
    title: FieldPath | None = "title"
    url: FieldPath | None = "url"

    @property
    def named(self) -> list[str]:
        return [name for name in (self.text, self.title, self.url) if name is not None]

    def in_hit(self) -> ResultFields:
        return ResultFields(
            id="_id",
            score="_score",
            text=f"_source.{self.text}",
            title=None if self.title is None else f"_source.{self.title}",
            url=None if self.url is None else f"_source.{self.url}",
        )


class ElasticsearchOptions(ServiceOptions):
    base_url: str
    index: Annotated[str, Field(pattern=r"^[^\s/\\?#\"<>|]+$", max_length=255)]
    """One index, an alias, or several with commas and stars, as the server takes them."""
    dialect: Literal["elasticsearch", "opensearch"] = "elasticsearch"
    """How a vector is searched by: all else is alike in both."""
    fields: SourceFields = SourceFields()
    search_fields: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Fields whose words count, with a weight if you like (``title^2``); by default text and title."""
    vector_field: str | None = None
    """Searched beside the words, nearest to the vector that ``embedder`` makes; the server adds up both scores."""
    candidates: int = Field(default=100, ge=1, le=10_000)
    """Elasticsearch: how many a shard looks at for the nearest."""
    body: dict[str, Any] | None = None
    """A search of one's own in the place of gate's: ``{{query}}``, ``{{k}}`` and ``{{vector}}`` stand for what is
    asked, in values."""
    username: str | None = None
    password_env: str | None = None

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str) -> str:
        return http_address(value, example="http://127.0.0.1:9200")

    @field_validator("body")
    @classmethod
    def _known_names(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        named = set() if value is None else set(_named_in(value))
        if unknown := sorted(named - _KNOWN):
            raise ValueError(
                f"{{{{{unknown[0]}}}}} stands for nothing; known: {{{{query}}}}, {{{{k}}}}, {{{{vector}}}}"
            )
        if value is not None and not named & {"query", "vector"}:
            raise ValueError("must hold {{query}} or {{vector}}: else every question finds the same")
        return value

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if (self.username is None) != (self.password_env is None):
            raise ValueError("'username' and 'password_env' go together")
        if self.username is not None and self.api_key_env is not None:
            raise ValueError("give api_key_env, or username and password_env, not both")
        if self.body is not None and (self.vector_field is not None or self.search_fields is not None):
            raise ValueError("'body' stands in the place of 'search_fields' and 'vector_field'")
        by_vector = self.vector_field is not None or "vector" in set(_named_in(self.body or {}))
        if bool(self.embedder) != by_vector:
            raise ValueError("'embedder' goes with 'vector_field', or with {{vector}} in 'body'")
        return self


@dataclass(frozen=True, slots=True)
class Elasticsearch:
    """Fits `WireRetriever`."""

    kind: ClassVar[str] = "elasticsearch"
    Options: ClassVar[type[BaseModel]] = ElasticsearchOptions

    name: str
    options: ElasticsearchOptions
    key: str | None = field(repr=False)
    """The key or the password."""

    @classmethod
    def from_options(cls, name: str, options: ElasticsearchOptions) -> Self:
        if options.password_env:
            return cls(name, options, header_secret(options.password_env, "the password"))
        return cls(name, options, header_secret(options.api_key_env) if options.api_key_env else None)

    @property
    def embedder(self) -> str:
        return self.options.embedder

    @property
    def fingerprint(self) -> str:
        return self.options.fingerprint(self.kind)

    def encode(self, effect: Retrieve) -> HttpRequest:
        options = self.options
        url = f"{options.base_url}/{quote(options.index, safe=',*')}/_search"
        headers = {"content-type": "application/json", "accept": "application/json", **options.headers}
        if self.key is not None:
            headers["authorization"] = f"ApiKey {self.key}"
            if options.username is not None:
                pair = f"{options.username}:{self.key}".encode()
                headers["authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        query = " ".join(sendable(effect.query).split()[:_MOST_WORDS])
        vector = vector_of(self.name, effect.vector) if options.embedder else []
        body = {"size": effect.k, "_source": options.fields.named, **self._search(query, effect.k, vector)}
        return HttpRequest(url, headers, body)

    def _search(self, query: str, k: int, vector: list[float]) -> dict[str, Any]:
        options = self.options
        if options.body is not None:
            filled: dict[str, Any] = _filled(options.body, {"query": query, "k": k, "vector": vector})
            return filled
        fields = options.search_fields or [name for name in (options.fields.text, options.fields.title) if name]
        by_words = {"multi_match": {"query": query, "fields": list(fields)}}
        if options.vector_field is None:
            return {"query": by_words}
        if options.dialect == "opensearch":
            by_vector = {"knn": {options.vector_field: {"vector": vector, "k": k}}}
            return {"query": {"bool": {"should": [by_words, by_vector]}}}
        nearest = {"field": options.vector_field, "query_vector": vector, "k": k}
        return {"query": by_words, "knn": {**nearest, "num_candidates": max(k, options.candidates)}}

    def decode(self, status: int, headers: Mapping[str, str], body: bytes) -> tuple[Passage, ...]:
        data = reply_json(self.name, status, headers, body, self.key, "base_url")
        if isinstance(data, dict):
            self._check_whole(data)
        return passages_of(self.name, results_in(self.name, data, "hits.hits"), self.options.fields.in_hit())

    def _check_whole(self, data: Mapping[str, Any]) -> None:
        """Part of the index may have been searched alone: what is found then is another answer than tomorrow's."""
        if data.get("timed_out") is True:
            raise UpstreamError(self.name, "ended its search before it was complete (timed_out)", retryable=True)
        shards = data.get("_shards")
        failed = shards.get("failed") if isinstance(shards, dict) else None
        if isinstance(failed, int) and failed > 0:
            raise UpstreamError(self.name, f"searched without {failed} of its shards, which failed", retryable=True)


def _named_in(template: Any) -> Iterator[str]:
    """What is to be put in, of all the values of a template."""
    if isinstance(template, str):
        yield from _NAMED.findall(template)
    elif isinstance(template, dict):
        for value in template.values():
            yield from _named_in(value)
    elif isinstance(template, list):
        for value in template:
            yield from _named_in(value)


def _filled(template: Any, values: Mapping[str, Any]) -> Any:
    """The template with the values put in: as JSON where one stands alone, as text within a text.

    They are put in once and as they are: a query that holds ``{{k}}``, or quotes, is text like any other.
    """
    if isinstance(template, dict):
        return {key: _filled(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, values) for value in template]
    if not isinstance(template, str):
        return template
    if (whole := _NAMED.fullmatch(template)) is not None:
        return values[whole[1]]
    return _NAMED.sub(lambda found: str(values[found[1]]), template)
