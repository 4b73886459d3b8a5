"""What a policy file says of its routes: the keys ``routes.retrieve``, ``routes.clarify`` and ``abstain``."""

from __future__ import annotations

import operator
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_serializer,
    model_serializer,
    model_validator,
)

FALL_BACK = "en"
"""The language of what gate says itself where another cannot be told."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
_NO_MORE = 0
_NEVER: Literal["never"] = "never"
_BY: Literal["mean_logprob"] = "mean_logprob"
"""Keys that came later stand in no fingerprint while they are not used: what was certified before them still is."""


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class RetrieveSettings(BaseModel):
    """The key ``routes.retrieve`` of a policy. With several retrievers one draft is made from what each finds, and the
    surest goes on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    retriever: Annotated[tuple[Name, ...], BeforeValidator(_several), Field(min_length=1, max_length=8)]
    by: Literal["mean_logprob", "self_certainty"] = Field(default=_BY, exclude_if=_BY.__eq__)
    """How sure a draft is, where there are several: per token, so that a long one may win."""
    prompt: Name = "with_passages"
    k: int = Field(default=3, ge=1, le=50)
    """How many passages the prompt quotes."""
    arbitrate: bool = Field(default=False, exclude_if=operator.not_)
    """Where memory and passages lead to different answers, let the one that is likelier right be on trial."""
    fetch: int = Field(default=_NO_MORE, ge=0, le=200, exclude_if=_NO_MORE.__eq__)
    """How many are looked for; 0 = as many as are quoted. What is found beside those is evidence of ambiguity."""
    first: Literal["never", "fresh", "always"] = Field(default=_NEVER, exclude_if=_NEVER.__eq__)
    """For which questions a search comes before the first draft: for none, for those that ask for what changes with
    time, or for all."""

    @field_serializer("retriever")
    def _one(self, retriever: tuple[Name, ...]) -> str | tuple[str, ...]:
        return retriever[0] if len(retriever) == 1 else retriever

    @model_validator(mode="after")
    def _fetch(self) -> RetrieveSettings:
        if 0 < self.fetch < self.k:
            raise ValueError("'fetch' is how many passages are looked for, of which 'k' are quoted: it is at least 'k'")
        return self


class ClarifySettings(BaseModel):
    """The key ``routes.clarify`` of a policy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    below: dict[Name, float] = Field(min_length=1)
    """Signals, each with the reading below which the question is taken to be ambiguous: one of them is enough."""
    prompt: Name | None = "clarify"
    """Asks an upstream for the question to ask back; None = no call, gate's own wording."""
    upstream: Name | None = None
    """Who is asked for it; None = who drafted."""
    text: str | None = Field(default=None, min_length=1)
    """Said where no question came of that; None = a text that gate brings, in the language of the question."""


class AbstainSettings(BaseModel):
    """The key ``abstain`` of a policy: one text, used as it is, or a mapping of these."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str | None = Field(default=None, exclude_if=lambda text: text is None)
    """The refusal in every case, whatever the language."""
    texts: dict[Language, str] = {}
    """The refusal by language; without it or ``text``, the texts that gate brings."""
    language: Language = FALL_BACK
    """Where that of the question cannot be told, or there is no text in it."""
    evidence: bool = False
    """Whether a refusal lists the best passages that were found."""
    hedge_above: float | None = Field(default=None, ge=0, le=1)
    """The least p at which the draft is given although gate abstains, marked as unsure; None = never."""
    person: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)] | None = None
    """Who is handed the question as the last step: a name of ``people``."""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, data: Any) -> Any:
        return {"text": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _one_of_them(self) -> AbstainSettings:
        if self.text is not None and self.texts:
            raise ValueError("'text' is for all languages, 'texts' by language: give one of the two")
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, whole: Any) -> Any:
        """A plain text stays one, so that a policy that says no more keeps its fingerprint."""
        return self.text if self == AbstainSettings(text=self.text) and self.text is not None else whole(self)
