"""P(True): the judge sees question, passages, brainstormed answers and the draft, and picks "true" or "false"."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, Field

from gate.effects import Flow, Generate, together
from gate.errors import EvidenceUnavailable
from gate.evidence.asking import refused, saying
from gate.evidence.draft import Draft
from gate.evidence.drawing import Drawn, fewest_calls, seed_of, several
from gate.evidence.fencing import quoted
from gate.evidence.judging import DECLINED, answered, conversation, or_none, put, shown
from gate.evidence.log_probabilities import no_number
from gate.evidence.samples import Samples
from gate.ports import Evidence, Fact, Missing, Profile, Round, Uses
from gate.prompts import load
from gate.types import Cost, Generation, Message, TokenLogprob

PROMPT = "p_true"
_ALTERNATIVES = 20
MAX_TOKENS = 4
"""One would do; "(A)" takes three."""
_SHOWN = 600
"""Characters of a brainstormed answer that are shown."""
_TRUE = frozenset({"a", "true"})
_FALSE = frozenset({"b", "false"})
_VOTE = re.compile(r"\W*(?:option\W+|answer\W+)?(a|b|true|false)\b")
_WORD_MARKS = "\u2581\u0120"
"""What some tokenizers write for a space before a word."""
NO_LOGPROBS = Missing("the judge gives no log-probabilities")
NO_ALTERNATIVES = Missing("the judge lists no alternatives to its tokens")
NOT_LISTED = Missing("neither option is among the judge's likeliest tokens")
NO_TWIN = Missing("no question without content was asked")


@dataclass(frozen=True, slots=True)
class Options:
    """Probability that the judge's reply begins with the true option and with the false one; not both are 0."""

    true: float
    false: float


@dataclass(frozen=True)
class PTrue(Fact):
    options: Options | Missing
    votes: tuple[bool | None, ...]
    """One a sampled reply: the option it names, None when it names neither. Empty unless votes were asked for."""
    twin: Options | Missing
    """The same options when the judge is shown no question and no answer: its leaning to a letter or a place."""


class PTrueSource(BaseModel, extra="forbid", frozen=True):
    """Asks whether the draft is right (Kadavath et al., 2022); samples gathered before are shown as brainstormed.

    Without ``votes`` it is one greedy reply, read off its log-probabilities: none is asked of an upstream that gives
    none. With ``votes`` that many replies are sampled at temperature 1, and the same log-probabilities come with them.
    ``debias`` asks once more with nothing in question (Zhao et al., 2021). ``upstream`` names another judge.
    """

    name: ClassVar[str] = "p_true"
    provides: ClassVar[type[Fact]] = PTrue
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft,)
    upstream: str | None = None
    votes: int = Field(default=0, ge=0, le=32)
    debias: bool = False
    brainstormed: int = Field(default=5, ge=0, le=32)
    """The most different samples to show."""
    seed: int | None = None
    """Makes votes repeat where the judge allows it."""

    @property
    def uses(self) -> Uses:
        return Uses(upstreams=(self.upstream,) if self.upstream else (), prompts=(PROMPT,))

    def calls(self, profile: Profile) -> int:
        listing = self._lists(profile)
        asked = fewest_calls(self.votes, self._at_once(profile)) if self.votes else int(listing)
        return asked + int(self.debias and listing)

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        draft, samples = answered(evidence), evidence.find(Samples)
        listing = self._lists(round_.profile)
        if not self.calls(round_.profile):
            return PTrue(Cost(), NO_LOGPROBS, (), NO_TWIN)
        twins = int(self.debias and listing)
        shown_samples = brainstormed(samples.generations if samples else (), self.brainstormed)
        asked = posed(round_, draft, shown_samples)
        room = None if round_.calls_left is None else round_.calls_left - twins
        flows = [self._judged(round_, asked, self.votes, room)]
        if twins:
            flows.append(self._judged(round_, (Message("user", _without_content()),), 0, 1))
        replies = yield from together(flows)
        cost = Cost.together(reply.cost for reply in replies)
        if not replies[0].generations:
            raise EvidenceUnavailable(f"the judge gave no verdict: {replies[0].reason}", cost)
        votes = tuple(vote_in(g) for g in replies[0].generations) if self.votes else ()
        return PTrue(cost, _first_read(replies[0]), votes, _first_read(replies[1]) if twins else NO_TWIN)

    def _judged(self, round_: Round, messages: tuple[Message, ...], votes: int, room: int | None) -> Flow[Drawn]:
        count = max(1, votes)

        def ask(n: int, place: int) -> Generate:
            return put(
                round_,
                messages,
                upstream=self.upstream,
                n=n,
                of=count,
                max_tokens=MAX_TOKENS,
                temperature=1.0 if votes else 0.0,
                seed=seed_of(self.seed, place) if votes else None,
                alternatives=_ALTERNATIVES,
            )

        return (yield from several(ask, count, at_once=self._at_once(round_.profile), room=room))

    def _lists(self, profile: Profile) -> bool:
        return self.upstream is not None or (profile.logprobs and profile.top_logprobs > 0)

    def _at_once(self, profile: Profile) -> int:
        return 1 if self.upstream else max(1, profile.n)


def posed(round_: Round, answer: Generation, beside: str) -> tuple[Message, ...]:
    """The question whether an answer is right, with the answers ``beside`` it that came to mind."""
    question = load(PROMPT).render(
        question=or_none(conversation(round_.question.messages)),
        passages=or_none(quoted(round_.passages, load(PROMPT))),
        brainstormed=or_none(beside),
        answer=or_none(shown(answer)),
    )
    return (saying(_last_of_user(round_), question),)


def brainstormed(samples: Iterable[Generation], most: int) -> str:
    """The different answers among the samples, a line each, at most so many and each cut to a readable length."""
    texts = (" ".join(shown(sample).split()) for sample in samples if not refused(sample))
    different = list(dict.fromkeys(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}\u2026" for text in texts))
    return "\n".join(different[:most])


def options_in(tokens: tuple[TokenLogprob, ...] | None) -> Options | Missing:
    """The options' probabilities at the first token that is more than space and marks, all spellings summed."""
    if not tokens:
        return NO_LOGPROBS
    if (why := no_number(tokens)) is not None:
        return why
    token = next((token for token in tokens if _bare(token.token)), tokens[0])
    listed = dict(token.top) | {token.token: token.logprob}
    if len(listed) < 2:
        return NO_ALTERNATIVES
    masses = [(_bare(text), math.exp(min(0.0, logprob))) for text, logprob in listed.items()]
    true = math.fsum(mass for text, mass in masses if text in _TRUE)
    false = math.fsum(mass for text, mass in masses if text in _FALSE)
    return Options(min(1.0, true), min(1.0, false)) if true or false else NOT_LISTED


def vote_in(generation: Generation) -> bool | None:
    """The option a reply names first; None when it names neither."""
    found = _VOTE.match(unicodedata.normalize("NFKC", generation.text[:80]).casefold())
    return None if found is None else found[1] in _TRUE


def _bare(token: str) -> str:
    text = unicodedata.normalize("NFKC", token.strip(_WORD_MARKS)).casefold()
    return re.sub(r"[\W_]+", "", text)


def _first_read(drawn: Drawn) -> Options | Missing:
    """From the first reply that lists the options: where replies are several, they all began from the same place."""
    read = [DECLINED if g.refusal is not None else options_in(g.tokens) for g in drawn.generations]
    return next((each for each in read if isinstance(each, Options)), read[0] if read else Missing(drawn.reason))


def _last_of_user(round_: Round) -> Message:
    """Its images go to the judge with the prompt."""
    return next((m for m in reversed(round_.question.messages) if m.role == "user"), Message("user", ""))


def _without_content() -> str:
    return load(PROMPT).render(question="N/A", passages="(none)", brainstormed="(none)", answer="N/A")
