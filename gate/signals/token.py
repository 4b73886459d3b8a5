"""Token probabilities of the draft: how sure the model was of each word it wrote (methods: TLC-A and its kin).

All values are natural-log or probability scale over the generated tokens, the end marker included when the upstream
lists it. Missing when the upstream gives no log-probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from gate.evidence.draft import Draft
from gate.ports import Evidence, Fact, Missing
from gate.types import TokenLogprob

Tokens = tuple[TokenLogprob, ...]


@dataclass(frozen=True, slots=True)
class TokenSignal:
    """A statistic of the draft's tokens. ``statistic`` gives None when the tokens lack what it needs."""

    name: str
    statistic: Callable[[Tokens], float | None]
    bounds: tuple[float, float]
    needs: tuple[type[Fact], ...] = (Draft,)

    def measure(self, evidence: Evidence) -> float | Missing:
        draft = evidence.find(Draft)
        if draft is None:
            return Missing(evidence.missing.get(Draft, "there is no draft"))
        tokens = draft.generation.tokens
        if tokens is None:
            return Missing("the upstream gave no log-probabilities")
        if not tokens:
            return Missing("the answer has no tokens")
        value = self.statistic(tokens)
        return Missing("the upstream lists no alternatives to its tokens") if value is None else value


def logprob_sum(tokens: Tokens) -> float:
    """ln of the product of token probabilities: ln P(answer | prompt)."""
    return min(0.0, math.fsum(t.logprob for t in tokens))


def logprob_mean(tokens: Tokens) -> float:
    """Length-normalised log-probability; perplexity is ``exp(-mean)``."""
    return logprob_sum(tokens) / len(tokens)


def logprob_min(tokens: Tokens) -> float:
    """The least likely token."""
    return min(0.0, *(t.logprob for t in tokens))


def margin_min(tokens: Tokens) -> float | None:
    """Smallest gap in probability between the chosen token and its best rival; negative where a rival was likelier."""
    margins = []
    for token in tokens:
        rivals = [logprob for text, logprob in token.top if text != token.token]
        if not rivals:
            return None
        margins.append(math.exp(min(0.0, token.logprob)) - math.exp(min(0.0, max(rivals))))
    return min(margins)


def negentropy_mean(tokens: Tokens) -> float | None:
    """Minus the mean entropy per token, in nats.

    Only the listed alternatives are known; the mass that is left counts as one more outcome, so the entropy is a lower
    bound (and the value an upper bound) that does not jump with the number of alternatives.
    """
    total = 0.0
    for token in tokens:
        listed = dict(token.top) | {token.token: token.logprob}
        if len(listed) < 2:
            return None
        masses = [math.exp(min(0.0, logprob)) for logprob in listed.values()]
        rest = max(0.0, 1.0 - math.fsum(masses))
        total -= math.fsum(p * math.log(p) for p in (*masses, rest) if p > 0.0)
    return min(0.0, -total / len(tokens))


TOKEN_SIGNALS = (
    TokenSignal("token_logprob_sum", logprob_sum, (-math.inf, 0.0)),
    TokenSignal("token_logprob_mean", logprob_mean, (-math.inf, 0.0)),
    TokenSignal("token_logprob_min", logprob_min, (-math.inf, 0.0)),
    TokenSignal("token_margin_min", margin_min, (-1.0, 1.0)),
    TokenSignal("token_negentropy_mean", negentropy_mean, (-math.inf, 0.0)),
)
