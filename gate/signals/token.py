"""Token probabilities of the draft: how sure the model was of what it wrote (TLC-A: Petryk et al. 2023, and its kin).

One statistic, over one of the spans of `gate.evidence.spans`: all tokens, content words, names and numbers, the answer
proper, its first token. All values are on the natural-log or the probability scale. Missing when the upstream gives no
log-probabilities, or when the span is empty.

The product and the inverse perplexity rank answers as the sum and the mean of log-probabilities do: they are the same
fact on the scale of probability, where differences among likely answers count and those among unlikely ones vanish.

Of a token's alternatives only the listed ones are known. A text that is listed twice counts once, and the chosen token
counts with its own log-probability, listed or not. Another casing or spacing is another token, hence a rival.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from math import exp, log

from gate.evidence.draft import Draft
from gate.evidence.log_probabilities import margin, negentropy, no_number, outcomes
from gate.evidence.spans import answer_tokens, content_tokens, entity_tokens, every_token, first_answer_token
from gate.ports import Evidence, Fact, Missing
from gate.types import Generation, TokenLogprob

Tokens = Sequence[TokenLogprob]
Statistic = Callable[[Tokens], float | None]

_DEEPEST = 30.0
"""In nats: an alternative so far below the likeliest is as good as impossible; servers write -100, -9999 and so on."""


@dataclass(frozen=True, slots=True)
class Span:
    """Some tokens of an answer, and what to say when there are none."""

    places: Callable[[Generation], Sequence[int]]
    nothing: str


ALL = Span(every_token, "the answer has no tokens")
CONTENT = Span(content_tokens, "the answer has no words")
ENTITY = Span(entity_tokens, "the answer has no name and no number that can be told from other words")
ANSWER = Span(answer_tokens, "the tokens spell no answer")
FIRST = Span(first_answer_token, "the tokens spell no answer")


@dataclass(frozen=True, slots=True)
class TokenSignal:
    """A statistic of some of the draft's tokens. ``statistic`` gives None when the tokens lack what it needs."""

    name: str
    statistic: Statistic
    bounds: tuple[float, float]
    span: Span = ALL
    needs: tuple[type[Fact], ...] = (Draft,)

    def measure(self, evidence: Evidence) -> float | Missing:
        draft = evidence.find(Draft)
        if draft is None:
            return Missing(evidence.missing.get(Draft, "there is no draft"))
        tokens = draft.generation.tokens
        if tokens is None:
            return Missing("the upstream gave no log-probabilities")
        chosen = [tokens[place] for place in self.span.places(draft.generation)]
        if not chosen:
            return Missing(self.span.nothing if tokens else ALL.nothing)
        if (why := no_number(tokens)) is not None:
            return why
        value = self.statistic(chosen)
        return Missing("the upstream lists no alternatives to its tokens") if value is None else value


# --- of the tokens that were chosen ------------------------------------------------------------------------------


def logprob_sum(tokens: Tokens) -> float:
    """ln of the product of token probabilities: ln P(answer | prompt)."""
    return min(0.0, math.fsum(t.logprob for t in tokens))


def logprob_mean(tokens: Tokens) -> float:
    """Length-normalised log-probability; perplexity is ``exp(-mean)``."""
    return logprob_sum(tokens) / len(tokens)


def logprob_min(tokens: Tokens) -> float:
    """The least likely token."""
    return min(0.0, *(t.logprob for t in tokens))


def probability_product(tokens: Tokens) -> float:
    """The product of token probabilities, ``exp(sum)``, in [0, 1]."""
    return exp(logprob_sum(tokens))


def inverse_perplexity(tokens: Tokens) -> float:
    """1 / perplexity, ``exp(mean)``: the geometric mean of the token probabilities, in [0, 1]."""
    return exp(logprob_mean(tokens))


# --- of the tokens against their alternatives --------------------------------------------------------------------


def margin_min(tokens: Tokens) -> float | None:
    """Smallest gap in probability between the chosen token and its best rival; negative where a rival was likelier."""
    margins = []
    for token in tokens:
        gap = margin(token)
        if gap is None:
            return None
        margins.append(gap)
    return min(margins)


def negentropy_mean(tokens: Tokens) -> float | None:
    """Minus the mean entropy per token, in nats.

    Only the listed alternatives are known; the mass that is left counts as one more outcome, so the entropy is a lower
    bound (and the value an upper bound) that does not jump with the number of alternatives.
    """
    return _mean(tokens, negentropy)


def gini_mean(tokens: Tokens) -> float | None:
    """Mean Gini purity per token: the chance that two draws give the same token, sum p^2, in [0, 1].

    Summed over the listed alternatives alone, it is a lower bound. None of the unlisted is likelier than the least of
    the k listed, so it lacks at most ``(1 - listed mass) * p_k``. The mass that is left is no outcome here: counted as
    one, it would make a flat distribution look pure.
    """
    return _mean(tokens, _gini)


def self_certainty_mean(tokens: Tokens) -> float | None:
    """Mean self-certainty per token (Kang et al. 2025): KL divergence of its distribution from uniform, in nats.

    ``-1/k sum ln(k p_j)`` over the k listed alternatives, made to sum to 1, instead of over the vocabulary: 0 where
    all listed are alike, higher the further the likeliest is ahead. What is not listed is left out, or else a flat
    distribution would look certain. It depends on k, so compare only answers with equally long lists. An alternative
    counts as at most 30 nats below the likeliest, which keeps the value in [0, 30).
    """
    return _mean(tokens, _self_certainty)


def _mean(tokens: Tokens, of_outcomes: Callable[[Collection[float]], float]) -> float | None:
    """The mean over tokens of a function of the log-probabilities that are known; None when a token has no rivals."""
    total = 0.0
    for token in tokens:
        listed = outcomes(token)
        if listed is None:
            return None
        total += of_outcomes(listed)
    return total / len(tokens)


def _gini(logprobs: Collection[float]) -> float:
    return min(1.0, sum([exp(logprob + logprob) if logprob < 0.0 else 1.0 for logprob in logprobs]))


def _self_certainty(logprobs: Collection[float]) -> float:
    peak = max(logprobs)
    below = [max(-_DEEPEST, logprob - peak) for logprob in logprobs]
    k = len(below)
    return min(_DEEPEST, max(0.0, log(sum([exp(depth) for depth in below]) / k) - sum(below) / k))


_LOG, _SHARE, _GAP, _DIVERGENCE = (-math.inf, 0.0), (0.0, 1.0), (-1.0, 1.0), (0.0, _DEEPEST)


def _six(prefix: str, span: Span) -> tuple[TokenSignal, ...]:
    signal = partial(TokenSignal, span=span)
    return (
        signal(f"{prefix}_probability_product", probability_product, _SHARE),
        signal(f"{prefix}_logprob_mean", logprob_mean, _LOG),
        signal(f"{prefix}_logprob_min", logprob_min, _LOG),
        signal(f"{prefix}_inverse_perplexity", inverse_perplexity, _SHARE),
        signal(f"{prefix}_margin_min", margin_min, _GAP),
        signal(f"{prefix}_negentropy_mean", negentropy_mean, _LOG),
    )


TOKEN_SIGNALS = (
    TokenSignal("token_logprob_sum", logprob_sum, _LOG),
    *_six("token", ALL),
    TokenSignal("token_gini_mean", gini_mean, _SHARE),
    TokenSignal("token_self_certainty_mean", self_certainty_mean, _DIVERGENCE),
    *_six("token_content", CONTENT),
    TokenSignal("token_entity_logprob_min", logprob_min, _LOG, ENTITY),
    *_six("token_answer", ANSWER),
    TokenSignal("token_answer_gini_mean", gini_mean, _SHARE, ANSWER),
    TokenSignal("token_answer_self_certainty_mean", self_certainty_mean, _DIVERGENCE, ANSWER),
    TokenSignal("token_answer_first_probability", probability_product, _SHARE, FIRST),
    TokenSignal("token_answer_first_margin", margin_min, _GAP, FIRST),
)
