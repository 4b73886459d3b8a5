"""Retrieve: find passages for the question and ask the same upstream again with them in the prompt.

With several retrievers (Confident RAG) each brings its own passages, one draft is made from each, side by side, and the
surest of them opens the round. Mixing what they found in one prompt does no better than the best of them alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from gate.effects import Embed, Flow, Reply, Retrieve, embed, retrieve, together
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.evidence.asking import quoting, stopped_early
from gate.evidence.draft import Draft
from gate.evidence.rivals import Contest
from gate.ports import Ending, Evidence, Round
from gate.prompts import Prompt
from gate.spending import Tally, tallied
from gate.types import Action, Cost, Decision, Passage

Found = tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class RetrieveRoute:
    retriever: str
    prompt: Prompt
    """Takes ``passages`` and ``question``."""
    k: int = 3
    """How many passages the prompt quotes."""
    others: tuple[str, ...] = ()
    """Further retrievers, each with a draft of its own."""
    contest: Contest | None = None
    """How the best of several drafts is found; None where there are no others."""
    embedders: Mapping[str, str] = field(default_factory=dict)
    """Who makes the vector of the question that a retriever searches by, for those that do."""
    fetch: int = 0
    """How many are looked for, where that is more: what is found beside those quoted is evidence."""
    action = Action.RETRIEVE

    def open(self, round_: Round) -> bool:
        """Once an upstream, and only with words to search for."""
        return not round_.passages and bool(round_.question.text.strip())

    def follow(self, round_: Round, evidence: Evidence, decision: Decision) -> Flow[Round | Ending]:
        if round_.found:
            return self._reading(round_, evidence, round_.fetched or round_.found, Cost(), quoted=round_.found)
        room = len(self.others) + 1 if round_.calls_left is None else round_.calls_left
        if self.contest is not None and self.others and room > 1:
            return (yield from self._of_several(round_, evidence, self.contest, room))
        found = yield from self._search(self.retriever, round_)
        if not found.value:
            raise EvidenceUnavailable("no passage was found", found.cost, code="no_passages")
        return self._reading(round_, evidence, found.value, found.cost)

    def _search(self, retriever: str, round_: Round) -> Flow[Reply[Found]]:
        tally = Tally()
        passages = yield from tallied(self._looked_up(retriever, round_.question.text), tally)
        return Reply(passages, tally.paid)

    def _looked_up(self, retriever: str, query: str) -> Flow[Found]:
        vector = None
        if embedder := self.embedders.get(retriever):
            vector = (yield from embed(Embed(embedder, (query,)))).value.rows[0]
        return (yield from retrieve(Retrieve(retriever, query, max(self.k, self.fetch), vector))).value

    def _searched(self, retriever: str, round_: Round) -> Flow[Reply[Found] | EvidenceUnavailable | UpstreamError]:
        """What it found, or why it failed: the others go on."""
        try:
            return (yield from self._search(retriever, round_))
        except (EvidenceUnavailable, UpstreamError) as error:
            return error

    def _of_several(self, round_: Round, evidence: Evidence, contest: Contest, room: int) -> Flow[Round]:
        """One draft from what each retriever found, as far as there is room; the same passages are read once."""
        names = (self.retriever, *self.others)[:room]
        replies = yield from together(self._searched(name, round_) for name in names)
        cost = Cost.together(reply.cost or Cost() for reply in replies)
        found = {_texts(reply.value): reply.value for reply in reversed(replies) if isinstance(reply, Reply)}
        found.pop((), None)
        if not found:
            failed = next((str(reply) for reply in replies if not isinstance(reply, Reply)), "")
            code = "" if failed else "no_passages"
            raise EvidenceUnavailable(f"no passage was found: {failed or 'all came back empty'}", cost, code=code)
        rounds = [self._reading(round_, evidence, passages, cost) for passages in reversed(found.values())]
        return rounds[0] if len(rounds) == 1 else (yield from contest.best_of(rounds))

    def _reading(
        self, round_: Round, evidence: Evidence, fetched: Found, cost: Cost, quoted: Found | None = None
    ) -> Round:
        passages = quoted or (fetched[: self.k] if self.fetch else fetched)
        draft = evidence.find(Draft)
        return dataclasses.replace(
            round_,
            number=round_.number + 1,
            messages=quoting(self.prompt, round_.question.messages, passages),
            passages=passages,
            fetched=fetched,
            prompt=self.prompt,
            cost=cost,
            closed_book=draft.generation if draft and not stopped_early(draft.generation) else None,
        )


def _texts(passages: Found) -> tuple[tuple[str, str], ...]:
    return tuple((passage.title, passage.text) for passage in passages)
