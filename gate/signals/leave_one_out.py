"""Leave one out: whether the answer stands when a passage is taken away.

Each answer without a passage is one view of the question, and the distributions of the views are parted as in dropout
decoding (Fang et al. 2024): the entropy of their mean is what is uncertain in total, the mean of their entropies what
is uncertain whatever is read (aleatoric), and the difference, their mutual information, what the passages disagree
about (epistemic).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from gate.evidence.leave_one_out import LeaveOneOut
from gate.evidence.log_probabilities import no_number
from gate.evidence.meanings import normalize
from gate.ports import Evidence, Fact, Missing
from gate.types import Generation, TokenLogprob

Outcome: TypeAlias = int | str
"""A meaning by its label, or a first token that begins no answer; the empty string is all that is not listed."""
_REST: Outcome = ""


def dropout_entropies(p: npt.ArrayLike) -> tuple[float, float, float]:
    """The total, aleatoric and epistemic entropy of ``k`` distributions over ``v`` outcomes, in nats.

    ``p`` has the shape [k, v], each row adding up to 1. The total lies in [0, ln v] and is the sum of the other two;
    the epistemic part lies in [0, ln k].
    """
    rows = np.asarray(p, dtype=np.float64)
    total = float(_entropies(rows.mean(axis=0)))
    aleatoric = min(total, float(_entropies(rows).mean()))
    return total, aleatoric, total - aleatoric


def _entropies(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    logs = np.log(rows, out=np.zeros_like(rows), where=rows > 0)
    entropies: npt.NDArray[np.float64] = np.maximum(0.0, -np.sum(rows * logs, axis=-1))
    return entropies


def views(fact: LeaveOneOut) -> npt.NDArray[np.float64]:
    """The distribution over outcomes of each answer, as rows [k, v].

    They are read off the first tokens, where every answer lists alternatives to its own and no two meanings begin
    alike; tokens that begin an answer count for its meaning. Otherwise each answer is a point on its meaning.
    """
    rows = _first_token_rows(fact) or [{label: 1.0} for label in fact.meanings]
    outcomes = {outcome: place for place, outcome in enumerate(dict.fromkeys(o for row in rows for o in row))}
    p = np.zeros((len(rows), len(outcomes)))
    for place, row in enumerate(rows):
        p[place, [outcomes[outcome] for outcome in row]] = list(row.values())
    p /= p.sum(axis=1, keepdims=True)
    return p


def _first_token_rows(fact: LeaveOneOut) -> list[dict[Outcome, float]] | None:
    firsts = [_first_token(answer) for answer in fact.answers]
    begun: dict[str, int] = {}
    for first, label in zip(firsts, fact.meanings, strict=True):
        if first is None or begun.setdefault(normalize(first.token), label) != label:
            return None
    return [_masses(first, begun) for first in firsts if first is not None]


def _first_token(answer: Generation) -> TokenLogprob | None:
    """The first token that is more than blank, if alternatives to it are listed and all can be read."""
    if no_number(answer.tokens) is not None:
        return None
    first = next((token for token in answer.tokens or () if token.token.strip()), None)
    return first if first is not None and any(text != first.token for text, _ in first.top) else None


def _masses(first: TokenLogprob, begun: dict[str, int]) -> dict[Outcome, float]:
    masses: dict[Outcome, float] = {}
    for text, logprob in (dict(first.top) | {first.token: first.logprob}).items():
        form = normalize(text)
        outcome: Outcome = begun.get(form, form)
        masses[outcome] = masses.get(outcome, 0.0) + math.exp(min(0.0, logprob))
    rest = 1.0 - math.fsum(masses.values())
    if rest > 0.0:
        masses[_REST] = masses.get(_REST, 0.0) + rest
    return masses


def agreement(fact: LeaveOneOut) -> float | Missing:
    """Share of the answers without a passage that have the draft's meaning."""
    return fact.meanings.count(0) / len(fact.meanings)


def weighted_agreement(fact: LeaveOneOut) -> float | Missing:
    """`agreement` with each vote weighted by the lead of the answer's first token over its best rival.

    The lead is one of probability, as in voting over views and decoding paths (MVP: Qu et al. 2024).
    """
    if (why := next(filter(None, (no_number(answer.tokens) for answer in fact.answers)), None)) is not None:
        return why
    firsts = [_first_token(answer) for answer in fact.answers]
    leads = [_lead(first) for first in firsts if first is not None]
    if len(leads) < len(firsts):
        return Missing("the upstream lists no alternatives to its tokens")
    total = math.fsum(leads)
    if total <= 0.0:
        return Missing("no answer's first token leads its rivals")
    held = math.fsum(lead for lead, label in zip(leads, fact.meanings, strict=True) if label == 0)
    return min(1.0, held / total)


def _lead(first: TokenLogprob) -> float:
    rival = max(logprob for text, logprob in first.top if text != first.token)
    return max(0.0, math.exp(min(0.0, first.logprob)) - math.exp(min(0.0, rival)))


def certainty(fact: LeaveOneOut) -> float | Missing:
    """Minus the epistemic entropy of the views: 0 where leaving out a passage changes nothing."""
    if len(fact.answers) < 2:
        return Missing("only one answer without a passage could be had")
    return -dropout_entropies(views(fact))[2]


def clarity(fact: LeaveOneOut) -> float | Missing:
    """Minus the aleatoric entropy of the views: 0 where each of them is sure, low where the question is vague."""
    if _first_token_rows(fact) is None:
        return Missing("the answers' first tokens tell no distribution over them")
    return -dropout_entropies(views(fact))[1]


@dataclass(frozen=True, slots=True)
class LeaveOneOutSignal:
    """A statistic of the answers to the prompt without one passage."""

    name: str
    statistic: Callable[[LeaveOneOut], float | Missing]
    bounds: tuple[float, float]
    needs: ClassVar[tuple[type[Fact], ...]] = (LeaveOneOut,)

    def measure(self, evidence: Evidence) -> float | Missing:
        fact = evidence.find(LeaveOneOut)
        if fact is None:
            return Missing(evidence.missing.get(LeaveOneOut, "no passage was left out"))
        if not fact.answers or len(fact.answers) != len(fact.meanings):
            return Missing("no answer without a passage could be had")
        return self.statistic(fact)


LEAVE_ONE_OUT_SIGNALS = (
    LeaveOneOutSignal("leave_one_out_agreement", agreement, (0.0, 1.0)),
    LeaveOneOutSignal("leave_one_out_agreement_weighted", weighted_agreement, (0.0, 1.0)),
    LeaveOneOutSignal("leave_one_out_certainty", certainty, (-math.inf, 0.0)),
    LeaveOneOutSignal("leave_one_out_clarity", clarity, (-math.inf, 0.0)),
)
