"""Rivals: one draft from the passages of each of several retrievers, of which the surest goes on.

Confident RAG (Chen et al. 2025, "Each to Their Own").
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from gate.effects import Effect, Flow, Generate, Reply, advance, driven
from gate.errors import EvidenceUnavailable
from gate.evidence.asking import cut_short, refused
from gate.evidence.citations import citing
from gate.evidence.draft import draft_of
from gate.evidence.drafting import DraftSource
from gate.evidence.drawing import cost_of, first_error, tried
from gate.evidence.log_probabilities import no_number
from gate.evidence.wordings import answer_text
from gate.ports import Evidence, Round
from gate.types import Generation, TokenLogprob

T = TypeVar("T")
Measure: TypeAlias = Callable[[Sequence[TokenLogprob]], float | None]
"""How sure a model was of its tokens; None where they lack what it takes."""


@dataclass(frozen=True, slots=True)
class Contest:
    """How the best of several drafts is found."""

    drafting: DraftSource
    measure: Measure

    def best_of(self, rounds: Sequence[Round]) -> Flow[Round]:
        """The round whose draft is the surest, with that draft and its rivals; what all drafts cost is its cost.

        ``rounds`` differ in their passages. Where not every draft can be measured, the answer that most give is taken,
        then the first. Refusals and drafts that were cut short give way to whole answers. Drafts that fail are left
        out; where all do, the first error is raised.
        """
        replies = yield from tried(map(self._drafted, rounds))
        cost = rounds[0].cost + cost_of(replies)
        made = [(r, reply.value) for r, reply in zip(rounds, replies, strict=True) if isinstance(reply, Reply)]
        if not made:
            error = first_error(replies) or EvidenceUnavailable("no draft could be had")
            error.cost = cost
            raise error
        chosen = self.choose([draft for _, draft in made])
        round_, draft = made.pop(chosen)
        rivals = tuple(other for _, other in made)
        return dataclasses.replace(round_, drafted=draft, rivals=rivals, cost=cost)

    def _drafted(self, round_: Round) -> Flow[Reply[Generation]]:
        flow = _unwatched(self.drafting.gather(round_, Evidence()))
        fact = yield from (citing(flow) if round_.cites else flow)
        return Reply(draft_of(Evidence().having(fact)).generation, fact.cost)

    def choose(self, drafts: Sequence[Generation]) -> int:
        """The place of the best of one or more drafts."""
        whole = [place for place, draft in enumerate(drafts) if not refused(draft) and not cut_short(draft)]
        places = whole or list(range(len(drafts)))
        sure = [self._measured(drafts[place]) for place in places]
        measured = [value for value in sure if value is not None]
        if len(measured) == len(places):
            return places[measured.index(max(measured))]
        said = [answer_text(drafts[place]) for place in places]
        return max(places, key=lambda place: (said.count(answer_text(drafts[place])), -place))

    def _measured(self, draft: Generation) -> float | None:
        if not draft.tokens or no_number(draft.tokens) is not None:
            return None
        return self.measure(draft.tokens)


def _unwatched(flow: Flow[T]) -> Flow[T]:
    """The flow, shown to nobody while it is under way: drafts side by side could not be told apart."""
    return (yield from driven(flow, advance(flow, None, None), _unseen))


def _unseen(effect: Effect) -> Flow[Any]:
    return (yield dataclasses.replace(effect, live="") if isinstance(effect, Generate) else effect)
