"""What probes learn from: the internal states of drafts in a collection, with what was found out about them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from gate.evidence import Draft, HiddenStates, HiddenStatesSource, Meanings
from gate.evidence.spans import first_answer_token
from gate.full_evidence import Seen
from gate.pipeline import Plan
from gate.policy import Policy
from gate.ports import Evidence
from gate.signals.semantic_entropy import discrete_entropy
from gate.tuning.collection import Collected
from gate.tuning.observing import seen_of
from gate.tuning.probes import ProbeExample

SOURCE = HiddenStatesSource.name


def probed(policy: Policy, path: str | None) -> Policy:
    """The policy with its probes at ``path``; without any where that is None."""
    options = {name: value for name, value in policy.evidence.get(SOURCE, {}).items() if name != "path"}
    options |= {} if path is None else {"path": path}
    return policy.model_copy(update={"evidence": {**policy.evidence, SOURCE: options}})


def reads_states(policy: Policy) -> bool:
    return any(SOURCE in tier for tier in policy.tiers)


def probe_examples(collected: Iterable[Collected], plan: Plan) -> Iterator[ProbeExample]:
    """One for each draft that has a label and whose states were read."""
    for one in collected:
        last: dict[str, Seen] = {}
        for seen in seen_of(plan, one):
            if not seen.stage.memory:  # the closed-book round has its states
                last[seen.stage.round_key] = seen  # the last tier has gathered most
        for key, seen in last.items():
            correct, states = one.correct(seen.draft), seen.evidence.find(HiddenStates)
            if states is not None and correct is not None and not (seen.declined or seen.cut_short):
                yield ProbeExample(
                    question=one.example.asked.text,
                    round_key=key,
                    block=states.block,
                    correct=correct,
                    certainty=_certainty(seen.evidence),
                    semantic_entropy=_semantic_entropy(seen.evidence),
                )


def _certainty(evidence: Evidence) -> float | None:
    """The probability of the answer's first token: how certain the model was, as in Simhi et al. 2025."""
    draft = evidence.find(Draft)
    if draft is None or not draft.generation.tokens:
        return None
    place = first_answer_token(draft.generation)
    return math.exp(min(0.0, draft.generation.tokens[place[0]].logprob)) if place else None


def _semantic_entropy(evidence: Evidence) -> float | None:
    meanings = evidence.find(Meanings)
    return discrete_entropy(meanings.samples) if meanings is not None and meanings.samples else None
