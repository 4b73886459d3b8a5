"""ROUGE-L (Lin 2004): how many words two answers share, in order; its mean over several answers; and F1 in any order.

Answers come as their words, in the form they are compared in. The means lie in [0, 1].
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from rapidfuzz.distance import LCSseq

Words = tuple[str, ...]


def rouge_l(one: Sequence[str], other: Sequence[str]) -> float:
    """The F1 of the longest common subsequence of two lists of words, in [0, 1]; 1 for two empty ones."""
    if not one and not other:
        return 1.0
    return 2.0 * float(LCSseq.similarity(one, other)) / (len(one) + len(other))


def rouge_l_recall(wanted: Sequence[str], answer: Sequence[str]) -> float:
    """The share of the wanted words that stand in the answer in their order, in [0, 1]; 1 where none are wanted."""
    return float(LCSseq.similarity(wanted, answer)) / len(wanted) if wanted else 1.0


def token_f1(one: Sequence[str], other: Sequence[str]) -> float:
    """2 x the words both have / all words of the two, each as often as it stands; in [0, 1] (Rajpurkar et al. 2016)."""
    shared = (Counter(one) & Counter(other)).total()
    return 2.0 * shared / (len(one) + len(other)) if shared else 0.0


def mean_rouge(answers: Sequence[Words]) -> float:
    """The mean over all pairs of answers; each two different ones are compared once. 1 for fewer than two."""
    m, numbers = len(answers), dict[str, str]()
    counts = [(_coded(answer, numbers), count) for answer, count in Counter(answers).items()]
    if len(counts) < 2:
        return 1.0
    equal = sum(count * (count - 1) / 2 for _, count in counts)
    rest = sum(n * k * rouge_l(a, b) for (a, n), (b, k) in combinations(counts, 2))
    return min(1.0, (equal + rest) / (m * (m - 1) / 2))


def mean_rouge_to(answer: Words, others: Sequence[Words]) -> float:
    """The mean over one or more others."""
    return min(1.0, sum(count * rouge_l(answer, other) for other, count in Counter(others).items()) / len(others))


def _coded(words: Words, numbers: dict[str, str]) -> str:
    """One sign a word, the same for the same word: strings are compared faster than lists."""
    return "".join([numbers.setdefault(word, chr(len(numbers))) for word in words])
