"""Recorded answers as an upstream: a JSON-lines file of questions, answers and samples, plain or gzipped."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

from gate.effects import Generate
from gate.errors import ConfigError, UpstreamError
from gate.ports import Price, Profile
from gate.types import Generation, Generations


class RecordedOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    model: str | None = None
    """Take only the rows of this model."""


@dataclass(frozen=True)
class Recorded:
    answer: str
    samples: tuple[str, ...]


@dataclass(frozen=True)
class RecordedUpstream:
    """Fits `LocalUpstream`. Each row holds ``question``, ``answer`` and, for sampling, ``samples: [{"text": …}]``.

    A request for one answer gets the recorded answer, whatever its temperature: it is the draft, and must not be one
    of the samples it is held against. A request for more gets the first ``n`` samples. Questions are found by the exact
    text of the last user message.
    """

    kind: ClassVar[str] = "recorded"
    Options: ClassVar[type[BaseModel]] = RecordedOptions
    profile: ClassVar[Profile] = Profile(logprobs=False, top_logprobs=0, n=1024, tools=False, seed=False)

    name: str
    path: Path
    model: str | None
    price: Price = field(default_factory=Price)

    @classmethod
    def from_options(cls, name: str, options: RecordedOptions, price: Price) -> Self:
        made = cls(name, Path(options.path), options.model, price)
        if not made.rows:
            raise ConfigError(
                f"{options.path} holds no rows" + (f" of model {options.model!r}" if options.model else "")
            )
        return made

    @cached_property
    def rows(self) -> Mapping[str, Recorded]:
        return dict(self._read())

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.path.read_bytes() + str(self.model).encode()).hexdigest()[:16]

    def complete(self, effect: Generate, cancelled: Callable[[], bool]) -> Generations:
        question = next((m.content for m in reversed(effect.messages) if m.role == "user"), "")
        row = self.rows.get(question)
        if row is None:
            raise UpstreamError(self.name, f"{self.path.name} holds no answer to this question", status=404)
        if effect.n == 1:
            return Generations((Generation(row.answer),), model=self.model or "")
        if len(row.samples) < effect.n:
            cause = f"{self.path.name} holds {len(row.samples)} samples of this answer, not {effect.n}"
            raise UpstreamError(self.name, cause, status=400)
        return Generations(tuple(Generation(text) for text in row.samples[: effect.n]), model=self.model or "")

    def _read(self) -> Iterator[tuple[str, Recorded]]:
        try:
            raw = self.path.read_bytes()
            text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8")
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the recorded answers: {error}", where=str(self.path)) from error
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                row = _row(line, f"{self.path}:{number}")
                if self.model is None or row.get("model") == self.model:
                    yield str(row["question"]), _recorded(row, f"{self.path}:{number}")


def _row(line: str, where: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"not JSON: {error}", where=where) from error
    if not isinstance(row, dict) or not isinstance(row.get("question"), str):
        raise ConfigError("each line must be an object with a question", where=where)
    return row


def _recorded(row: Mapping[str, Any], where: str) -> Recorded:
    try:
        answer = row["answer"]
        samples = tuple(str(sample["text"]) for sample in row.get("samples") or ())
    except (KeyError, TypeError) as error:
        raise ConfigError('each line needs an "answer", and samples as [{"text": …}]', where=where) from error
    return Recorded("" if answer is None else str(answer), samples)
