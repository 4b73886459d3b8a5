"""Best of several: a judge's votes are spent on the candidates where they matter most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import BaseModel, Field

from gate.effects import Flow, Generate, generate
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.evidence.answer_forms import answer_text
from gate.evidence.asking import cut_short, refused
from gate.evidence.drawing import seed_of
from gate.evidence.judging import put
from gate.evidence.p_true import MAX_TOKENS, PROMPT, posed, vote_in
from gate.ports import Round, Uses
from gate.rules.bandit import Votes, best, next_candidate
from gate.types import Cost, Generation


class Verify(BaseModel, extra="forbid", frozen=True):
    """How candidates are judged: ``votes`` calls in all, each asking whether one of them is right (as ``p_true`` does).

    The next vote goes to the candidate with the highest upper confidence bound: the mean of the votes for it, and
    ``gamma`` standard deviations of that mean.
    """

    votes: int = Field(ge=1, le=64)
    upstream: str | None = None
    """Who judges; the upstream that answered when None."""
    gamma: float = Field(default=2.0, ge=0, le=10)
    temperature: float = Field(default=1.0, gt=0, le=2)
    seed: int | None = None
    """Makes votes repeat where the judge allows it."""

    @property
    def uses(self) -> Uses:
        return Uses(upstreams=(self.upstream,) if self.upstream else (), prompts=(PROMPT,))


def candidates(draft: Generation, others: Iterable[Generation]) -> tuple[Generation, ...]:
    """The draft and the others that say something else, each once; those that decline or are cut short are none."""
    different = {answer_text(draft): draft}
    for other in others:
        if not refused(other) and not cut_short(other):
            different.setdefault(answer_text(other), other)
    return tuple(different.values())


def verified(round_: Round, among: Sequence[Generation], how: Verify) -> Flow[tuple[int, Cost]]:
    """The place of the best candidate after the votes, and what they cost.

    The first stays where the judge fails, and where no vote is for the one that has the fewest against it.
    """
    votes, cost = [Votes() for _ in among], Cost()
    if len(among) < 2:
        return 0, cost
    for number in range(how.votes):
        if round_.calls_left is not None and cost.calls >= round_.calls_left:
            break
        place = next_candidate([v.mean for v in votes], [v.error for v in votes], gamma=how.gamma)
        assert place is not None  # noqa: S101 - none is ever finished: a judge may be asked again
        try:
            reply = yield from generate(_asked(round_, among[place], how, number))
        except (UpstreamError, EvidenceUnavailable) as error:
            return 0, cost + (error.cost or Cost())
        cost += reply.cost
        vote = vote_in(reply.value.choices[0])
        votes[place] = votes[place].with_(bool(vote))  # what names neither option does not speak for it
    winner = best([v.mean for v in votes])
    return winner if votes[winner].yes else 0, cost


def _asked(round_: Round, candidate: Generation, how: Verify, number: int) -> Generate:
    return put(
        round_,
        posed(round_, candidate, ""),
        upstream=how.upstream,
        max_tokens=MAX_TOKENS,
        temperature=how.temperature,
        seed=seed_of(how.seed, number),
    )
