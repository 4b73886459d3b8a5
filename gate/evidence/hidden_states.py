"""Hidden states: what was read inside the model for the draft, and what probes fitted on labelled answers make of it.

Text and token probabilities miss the mistake a model is sure of; its states catch part of it (Simhi et al. 2025). They
come with the draft, at no call, where its upstream can be read inside: the pocket model, and a vLLM server that was
started as ``gate vllm-args`` says. A draft that came without can be read once more, and any answer can be read by
another upstream: one call each, for the prompt's and the answer's tokens and one that is thrown away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, Field

from gate.effects import Flow, Generate, ReadStates, generate
from gate.errors import EvidenceUnavailable
from gate.evidence.asking import refused
from gate.evidence.draft import Draft, draft_of
from gate.evidence.probes import Probes
from gate.hidden_states.block import NOTHING_READ, STOPPED, Block, unpacked
from gate.ports import Evidence, Fact, Profile, Round, Uses
from gate.types import Cost, Generation, Message

_OF_THE_ANSWER = (NOTHING_READ, STOPPED)
"""Reasons that speak of one answer, and not of what runs."""
_OF_THE_PROMPT = ("tools", "functions", "documents", "chat_template", "chat_template_kwargs")
"""Fields of a request that chat templates put into the prompt."""


@dataclass(frozen=True)
class HiddenStates(Fact):
    block: Block
    probes: Mapping[str, float]
    """Log-odds of the draft being right, by each probe that was fitted for this upstream."""
    unprobed: str = ""
    """Why a probe that is not there is not."""


class HiddenStatesSource(BaseModel, extra="forbid", frozen=True, arbitrary_types_allowed=True):
    """Takes what came with the draft, or has the draft read. No call unless told otherwise.

    Raises `ConfigError` when the probes cannot be read. States of another model, of other layers, or not as they were
    written void a certificate; so does a server that sends none.
    """

    name: ClassVar[str] = "hidden_states"
    provides: ClassVar[type[Fact]] = HiddenStates
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft,)
    path: str | None = Field(default=None, pattern=r"^[^\x00]+$")
    """Probes, as ``gate tune`` writes them; without them only what needs no fitting is read off the states."""
    read_by: str | None = None
    """An upstream that reads the draft in the place of the one that wrote it. One call."""
    read_again: bool = False
    """Whether a draft that came without states is read once more by its upstream, where that has states: a streamed
    one, say. One call."""
    fitted: Probes | None = Field(default=None, exclude=True)
    """Probes that lie in no file yet: for tuning, not for a policy file."""

    @cached_property
    def probes(self) -> Probes | None:
        if self.fitted is not None or self.path is None:
            return self.fitted
        return Probes.load(Path(self.path))

    @property
    def uses(self) -> Uses:
        asked = () if self.read_by is None else (self.read_by,)
        probes = self.probes
        files = () if probes is None or self.path is None else ((self.path, probes.fingerprint),)
        return Uses(upstreams=asked, read_inside=asked, files=files)

    def calls(self, profile: Profile) -> int:
        return int(self.read_by is not None)

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        draft = draft_of(evidence).generation
        if refused(draft):
            raise EvidenceUnavailable("the model gave no answer whose states could be read")
        cost = Cost()
        again = self.read_again and round_.profile.states and draft.states is None and draft.no_states != NOTHING_READ
        if self.read_by is not None or again:
            draft, cost = yield from self._read(round_, draft)
        if draft.states is None:
            why = draft.no_states or f"the upstream {self.read_by or round_.upstream!r} gave no internal states"
            raise EvidenceUnavailable(why, cost, voids=why not in _OF_THE_ANSWER)
        try:
            block = unpacked(draft.states)
            return HiddenStates(cost, block, *self._probed(round_, block))
        except ValueError as error:
            raise EvidenceUnavailable(str(error), cost, voids=True) from error

    def _read(self, round_: Round, draft: Generation) -> Flow[tuple[Generation, Cost]]:
        """The draft as it was read: with its states, or the reason why there are none."""
        if not draft.text.strip():
            raise EvidenceUnavailable("tool calls cannot be read again")
        if self.read_by is None and round_.calls_left is not None and round_.calls_left < 1:
            raise EvidenceUnavailable("the budget of calls has no room for reading the draft again")
        passages = tuple(passage.text for passage in round_.passages)
        options = round_.question.options
        extra = {name: options[name] for name in _OF_THE_PROMPT if name in options}
        if "tools" in extra:
            extra["tool_choice"] = "none"
        reply = yield from generate(
            Generate(
                upstream=self.read_by or round_.upstream,
                messages=(*round_.messages, Message("assistant", draft.text)),
                temperature=0.0,
                max_tokens=1,
                extra=extra,
                states=ReadStates(passages, given=True),
            )
        )
        return reply.value.choices[0], reply.cost

    def _probed(self, round_: Round, block: Block) -> tuple[Mapping[str, float], str]:
        """What the probes say. Raises ValueError where they were fitted for another model or other layers."""
        if self.probes is None:
            return {}, "no probes were fitted: 'gate tune' fits them"
        round_key = round_.stage(0).round_key
        if round_key not in self.probes.rounds:
            return {}, f"no probes were fitted for {round_key!r}: it had too few labelled answers, or was not there"
        said = self.probes.read(round_key, round_.question.text, block)
        return said, "it was not fitted, or what it reads is missing"
