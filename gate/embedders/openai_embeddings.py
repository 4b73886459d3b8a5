"""The OpenAI embeddings dialect: ``POST …/embeddings``. OpenAI, vLLM, llama.cpp, Ollama and many more speak it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from pydantic import BaseModel, Field

from gate.effects import Embed
from gate.embedders.unit_vectors import unit_vectors
from gate.errors import UpstreamError
from gate.ports import HttpRequest, Price
from gate.types import Vectors
from gate.upstreams.openai_wire import AddressOptions, reply_object, request_headers, usage_of


class OpenAIEmbeddingsOptions(AddressOptions):
    dimensions: int | None = Field(default=None, ge=1, le=65_536)
    """Ask for shorter vectors, where the model can give them."""


@dataclass(frozen=True, slots=True)
class OpenAIEmbeddings:
    """Fits `Embedder`, behind HTTP."""

    kind: ClassVar[str] = "openai_embeddings"
    Options: ClassVar[type[BaseModel]] = OpenAIEmbeddingsOptions

    name: str
    options: OpenAIEmbeddingsOptions
    price: Price
    key: str | None = field(repr=False)

    @classmethod
    def from_options(cls, name: str, options: OpenAIEmbeddingsOptions, price: Price) -> Self:
        return cls(name, options, price, options.key())

    @property
    def fingerprint(self) -> str:
        return self.options.fingerprint(self.kind, f"1-{self.options.dimensions}")

    def encode(self, effect: Embed) -> HttpRequest:
        if not effect.texts:
            raise UpstreamError(self.name, "was asked for embeddings of no texts", status=400)
        body: dict[str, Any] = {"model": self.options.model, "input": [_sendable(text) for text in effect.texts]}
        if self.options.dimensions is not None:
            body["dimensions"] = self.options.dimensions
        return HttpRequest(f"{self.options.base_url}/embeddings", request_headers(self.options, self.key), body)

    def decode(self, status: int, headers: Mapping[str, str], body: bytes) -> Vectors:
        data = reply_object(self.name, status, headers, body, self.key, listing="data")
        return Vectors(unit_vectors(self.name, self._in_order(data["data"])), usage_of(data))

    def _in_order(self, items: list[dict[str, Any]]) -> list[Any]:
        """The embeddings by their ``index``: servers that work in batches may answer in another order."""
        places = [item.get("index", place) for place, item in enumerate(items)]
        if any(type(place) is not int for place in places) or sorted(places) != list(range(len(items))):
            raise UpstreamError(self.name, f"numbered {len(items)} embeddings otherwise than 0 to {len(items) - 1}")
        return [item.get("embedding") for _, item in sorted(zip(places, items, strict=True), key=lambda pair: pair[0])]


def _sendable(text: str) -> str:
    """The text as servers take it: they refuse an empty one, and JSON cannot hold half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode("utf-8") or " "
