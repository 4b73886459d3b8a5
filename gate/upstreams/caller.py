"""Whoever calls gate, as an upstream: its answers are brought along, by a decorated function or by `Gateway.judge`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

from gate.effects import Generate
from gate.errors import UpstreamError
from gate.ports import Price, Profile
from gate.types import Generations
from gate.upstreams.openai_wire import Capabilities


class CallerOptions(BaseModel):
    """What a policy file may say about answers that are brought along."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    identity: str = Field(min_length=1, max_length=200)
    """Of what writes them: the model and its version, that of the prompt, and how samples are drawn. A certificate is
    held against it, so change it whenever any of them changes: gate cannot see that."""
    capabilities: Capabilities = Capabilities(n=1)


@dataclass(frozen=True, slots=True)
class CallerUpstream:
    """Fits `LocalUpstream`. It answers nothing: its answers have come before it is asked."""

    kind: ClassVar[str] = "caller"
    Options: ClassVar[type[BaseModel]] = CallerOptions

    name: str
    options: CallerOptions
    price: Price = Price()

    @classmethod
    def from_options(cls, name: str, options: CallerOptions, price: Price) -> Self:
        return cls(name, options, price)

    @property
    def profile(self) -> Profile:
        return replace(self.options.capabilities.profile, stream=False)

    @property
    def fingerprint(self) -> str:
        return f"caller:{self.options.identity}"

    def complete(self, effect: Generate, cancelled: Callable[[], bool]) -> Generations:
        said = "is whoever calls gate: its answers are brought along, with gate.guard or Gate.judge, and not asked for"
        raise UpstreamError(self.name, said, status=501)
