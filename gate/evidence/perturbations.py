"""Perturbations: answers to the same request put in other ways, and a draft held against itself (Pedapati et al. 2024).

A model that knows says the same whichever way it is asked. Perturbed is the context where passages are in the prompt,
else the question. It takes many calls: put it in a late tier, which only questions in the uncertain band come to.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, Field, model_validator

from gate.effects import Flow, Generate, Reply, generate, together
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.evidence.asking import put_otherwise, quoting, refused, request
from gate.evidence.draft import Draft, draft_of
from gate.evidence.drawing import cost_of, first_error, tried
from gate.evidence.equivalence import alike, entailments
from gate.evidence.meanings import answer_text, group
from gate.evidence.perturbing import amplified, halves, permuted, without_stop_words
from gate.evidence.rewriting import rewritings
from gate.evidence.samples import Samples, SamplesSource, samples_of
from gate.ports import Evidence, Fact, Profile, Round, Uses
from gate.types import Cost, Generation, Message, Passage

Family = Literal["sampling", "paraphrase", "permutation", "amplification", "stop_words", "split"]
_PROMPT = "paraphrases"
_DRAWN: tuple[Family, ...] = ("permutation", "amplification", "stop_words")
"""One perturbed request each, answered ``n`` times."""
_WHY = {
    "permutation": "a context of several sentences that name something",
    "amplification": "a context of several sentences that name something",
    "stop_words": "stop words beside other words",
}


@dataclass(frozen=True, slots=True)
class Answers:
    """What one family of perturbations brought."""

    texts: tuple[str, ...]
    """In the form answers are compared in; empty for a refusal. At least one is not."""
    labels: tuple[int, ...]
    """Of equal answers."""
    draft: int
    """The draft's label among them."""


@dataclass(frozen=True)
class Perturbations(Fact):
    answers: Mapping[Family, Answers]
    contradictions: tuple[float, ...]
    """How likely each first part of the draft and its rest contradict each other; empty where it was not split."""
    missing: Mapping[Family, str]
    """Why a family that was wanted brought nothing."""


@dataclass(frozen=True, slots=True)
class _Brought:
    family: Family
    cost: Cost
    answers: Answers | None = None
    contradictions: tuple[float, ...] = ()
    missing: str = ""


class PerturbationsSource(BaseModel, extra="forbid", frozen=True):
    """Gathers some families of perturbations, side by side. One that brings nothing is missing; the others stay.

    ``sampling``: the samples that were drawn before; no call. ``paraphrase``: one call for ``n`` versions of the
    context or the question, and one for an answer to each. ``permutation``: sentences that name something moved about
    at random. ``amplification``: one of them said twice more. Both need a context, and make no call without.
    ``stop_words``: dropped, but for negations. Each of these three is one request answered ``n`` times.
    ``split``: the draft cut in two at up to ``splits`` random sentence boundaries; a judge of entailment says whether
    the halves contradict each other.
    """

    name: ClassVar[str] = "perturbations"
    provides: ClassVar[type[Fact]] = Perturbations
    families: tuple[Family, ...] = Field(default=("sampling", "paraphrase", "stop_words"), min_length=1)
    n: int = Field(default=5, ge=2, le=16)
    temperature: float = Field(default=1.0, gt=0, le=2)
    seed: int | None = None
    """Makes answers repeat where the upstream allows it. Places are drawn from 0 where it is not set."""
    equivalence: Literal["normalized", "lexical"] = "normalized"
    """When two answers are one: equal after normalising, or also alike by ``similarity`` (0..100) of sorted words."""
    similarity: float = Field(default=85, ge=0, le=100)
    judge: str | None = None
    """The name of a judge of entailment in the policy; ``split`` needs one."""
    splits: int = Field(default=5, ge=1, le=32)

    @model_validator(mode="after")
    def _needs_a_judge(self) -> Self:
        if "split" in self.families and self.judge is None:
            raise ValueError("the family 'split' needs a judge of entailment: name one under 'judge'")
        return self

    @property
    def needs(self) -> tuple[type[Fact], ...]:
        return (Draft, Samples) if "sampling" in self.families else (Draft,)

    @property
    def uses(self) -> Uses:
        return Uses(
            judges=(self.judge,) if self.judge is not None and "split" in self.families else (),
            prompts=(_PROMPT,) if "paraphrase" in self.families else (),
        )

    def calls(self, profile: Profile) -> int:
        return sum(self._calls(family, profile) for family in self._wanted)

    @property
    def _wanted(self) -> tuple[Family, ...]:
        return tuple(dict.fromkeys(self.families))

    def _calls(self, family: Family, profile: Profile) -> int:
        if family == "paraphrase":
            return 1 + self.n
        return self._drawing.calls(profile) if family in _DRAWN else 0

    @property
    def _drawing(self) -> SamplesSource:
        return SamplesSource(n=self.n, temperature=self.temperature, seed=self.seed)

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        draft = draft_of(evidence).generation
        rounds = self._shares(round_)
        brought = yield from together(self._family(family, rounds[family], draft, evidence) for family in self._wanted)
        cost = Cost.together(each.cost for each in brought)
        missing = {each.family: each.missing for each in brought if each.missing}
        if len(missing) == len(brought):
            raise EvidenceUnavailable("; ".join(f"{family}: {why}" for family, why in missing.items()), cost)
        return Perturbations(
            cost,
            {each.family: each.answers for each in brought if each.answers is not None},
            tuple(value for each in brought for value in each.contradictions),
            missing,
        )

    def _shares(self, round_: Round) -> dict[Family, Round]:
        """The round for each family, with its part of the calls and tokens that are left."""
        asking = [family for family in self._wanted if self._calls(family, round_.profile)]
        shares: dict[Family, Round] = {}
        for family in self._wanted:
            own, calls, tokens = self._calls(family, round_.profile), round_.calls_left, round_.tokens_left
            if calls is not None:
                calls = own + max(0, calls - self.calls(round_.profile)) // max(1, len(asking))
            if tokens is not None:
                tokens = max(1, tokens // max(1, len(asking)))
            shares[family] = replace(round_, calls_left=calls, tokens_left=tokens)
        return shares

    def _family(self, family: Family, round_: Round, draft: Generation, evidence: Evidence) -> Flow[_Brought]:
        try:
            if family == "split":
                return (yield from self._split(draft))
            if family == "sampling":
                generations, cost = samples_of(evidence), Cost()
            elif family == "paraphrase":
                generations, cost = yield from self._paraphrased(round_)
            else:
                generations, cost = yield from self._drawn(family, round_)
        except (EvidenceUnavailable, UpstreamError) as error:
            return _Brought(family, error.cost or Cost(), missing=str(error))
        texts = [answer_text(generation) for generation in generations]
        if not any(texts):
            return _Brought(family, cost, missing="every answer was a refusal")
        labels = group([answer_text(draft), *texts], self._same)
        return _Brought(family, cost, Answers(tuple(texts), tuple(labels[1:]), labels[0]))

    def _same(self, one: str, other: str) -> bool:
        return one == other if self.equivalence == "normalized" else alike(one, other, self.similarity)

    def _drawn(self, family: Family, round_: Round) -> Flow[tuple[tuple[Generation, ...], Cost]]:
        perturbed = _perturbed(family, round_, self.seed or 0)
        if perturbed is None:
            raise EvidenceUnavailable(f"it needs {_WHY[family]}")
        drawing = self._drawing.model_copy(update={"seed": self._seed(family)})
        samples = yield from drawing.gather(replace(round_, messages=perturbed), Evidence())
        assert isinstance(samples, Samples)  # noqa: S101 - what that source provides
        return samples.generations, samples.cost

    def _paraphrased(self, round_: Round) -> Flow[tuple[tuple[Generation, ...], Cost]]:
        seed = self._seed("paraphrase")
        half = None if round_.tokens_left is None else max(1, round_.tokens_left // 2)
        asked = replace(round_, tokens_left=half)
        text = _context(round_) or round_.question.text
        versions, cost = yield from rewritings(asked, _PROMPT, text, self.n, temperature=self.temperature, seed=seed)
        replies = yield from tried(
            generate(self._answering(asked, version, None if seed is None else seed + 1 + place))
            for place, version in enumerate(versions)
        )
        cost += cost_of(replies)
        answers = tuple(reply.value.choices[0] for reply in replies if isinstance(reply, Reply))
        if not answers:
            raise EvidenceUnavailable(f"no version could be answered: {first_error(replies)}", cost)
        return answers, cost

    def _answering(self, round_: Round, version: str, seed: int | None) -> Generate:
        said = replace(round_, messages=_saying(round_, version))
        return request(said, n=1, temperature=self.temperature, seed=seed, alternatives=0, of=self.n)

    def _split(self, draft: Generation) -> Flow[_Brought]:
        pairs = [] if refused(draft) else halves(draft.text, self.splits, random.Random(self.seed or 0))
        if not pairs or self.judge is None:
            raise EvidenceUnavailable("the draft is not of several sentences")
        verdicts, cost = yield from entailments(self.judge, tuple(pairs))
        return _Brought("split", cost, contradictions=tuple(verdict.contradiction for verdict in verdicts))

    def _seed(self, family: Family) -> int | None:
        """No two families ask with the same seed, nor with that of the samples."""
        places: tuple[Family, ...] = ("paraphrase", *_DRAWN)
        return None if self.seed is None else self.seed + 100_000 * (1 + places.index(family))


def _context(round_: Round) -> str:
    """What the prompt quotes; empty when it quotes nothing."""
    return "\n".join(passage.text for passage in round_.passages) if round_.prompt else ""


def _perturbed(family: Family, round_: Round, seed: int) -> tuple[Message, ...] | None:
    """The messages with their context, or the question, perturbed; None where that cannot be."""
    context = _context(round_)
    if family == "stop_words":
        text = without_stop_words(context or round_.question.text)
    elif not context:
        return None
    else:
        perturb = permuted if family == "permutation" else amplified
        text = perturb(context, random.Random(seed))
    return None if text is None else _saying(round_, text)


def _saying(round_: Round, text: str) -> tuple[Message, ...]:
    """The round's messages with ``text`` as their context, or as the question where there is no context."""
    messages = round_.question.messages
    if round_.prompt and round_.passages:
        return quoting(round_.prompt, messages, (Passage("perturbed", text),))
    return put_otherwise(messages, lambda _: text)
