"""Perturbing text, and how much two texts have in common. Pure: randomness is handed in.

The perturbations are those of Pedapati et al. (2024): sentences moved about, a sentence amplified, stop words dropped,
an answer split in two. Which sentences name something is guessed from capitals; in scripts without case every sentence
may.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Sequence

from rapidfuzz.distance import LCSseq

from gate.evidence.words import STOP_WORDS, names, sentences, words

_MOST_MOVED = 5
_MOST_WORDS = 1000
"""Words of an answer that are compared: a bound on work, far above most answers."""
_MOST_SIGNS = 16 * _MOST_WORDS
_UNSPACED = re.compile(r"([\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])")
"""Thai, Lao, Khmer, kana, Han and Hangul, which put few spaces or none between words: every sign counts as one."""
_SPACED_WORD = re.compile(r"\s*[^\W_]+(?:[-'\u2019][^\W_]+)*")


def permuted(text: str, rng: random.Random) -> str | None:
    """Up to five sentences that name something, taken out and put back elsewhere; None with nothing to move."""
    parts = sentences(text)
    movable = naming(parts)
    if not movable or len(set(parts)) < 2:
        return None
    moved = rng.sample(movable, min(_MOST_MOVED, len(movable)))
    for _ in range(8):
        rest = [part for place, part in enumerate(parts) if place not in moved]
        for place in moved:
            rest.insert(rng.randint(0, len(rest)), parts[place])
        if rest != parts:
            return " ".join(rest)
    return " ".join(parts[1:] + parts[:1])


def amplified(text: str, rng: random.Random, more: int = 2) -> str | None:
    """One sentence that names something, said ``more`` times again on the spot; None without other sentences."""
    parts = sentences(text)
    named = naming(parts)
    if not named or len(parts) < 2:
        return None
    place = rng.choice(named)
    return " ".join([*parts[:place], *[parts[place]] * (1 + more), *parts[place + 1 :]])


def naming(parts: Sequence[str]) -> list[int]:
    """The places of the sentences that seem to name someone or something."""
    lower = {word for part in parts for word in words(part) if word.islower()}
    return [place for place, part in enumerate(parts) if _names_something(part, lower)]


def _names_something(sentence: str, lower: set[str]) -> bool:
    said = words(sentence)
    if any(word[0].isupper() for word in names(sentence)):
        return True
    if not said or sentence.casefold() == sentence.upper():
        return bool(said)  # no case in this script
    first = said[0]
    return first[0].isupper() and first.casefold() not in STOP_WORDS and first.casefold() not in lower


def without_stop_words(text: str) -> str | None:
    """The text without English stop words; negations and capitalised words inside a sentence stay.

    None when that drops nothing or leaves nothing.
    """
    kept = " ".join(_without(part) for part in sentences(text)).strip()
    left = words(kept)
    return kept if left and left != words(text) else None


def _without(sentence: str) -> str:
    first = True

    def keep(found: re.Match[str]) -> str:
        nonlocal first
        word, opens = found[0].strip(), first
        first = False
        drop = word.casefold() in STOP_WORDS and (opens or word.islower())
        return "" if drop else found[0]

    return _SPACED_WORD.sub(keep, sentence).strip()


def halves(text: str, times: int, rng: random.Random) -> list[tuple[str, str]]:
    """The text cut in two at ``times`` random sentence boundaries, or at all there are; empty for one sentence."""
    parts = sentences(text)
    cuts = rng.sample(range(1, len(parts)), min(times, len(parts) - 1)) if len(parts) > 1 else []
    return [(" ".join(parts[:cut]), " ".join(parts[cut:])) for cut in cuts]


def rouge_l(one: Sequence[str], other: Sequence[str]) -> float:
    """ROUGE-L (Lin 2004): the F1 of the longest common subsequence of two lists of words; 1 for two empty ones."""
    if not one and not other:
        return 1.0
    return 2.0 * float(LCSseq.similarity(one, other)) / (len(one) + len(other))


def mean_rouge(texts: Sequence[str]) -> float:
    """The mean `rouge_l` over all pairs of texts, in [0, 1]; 1 for one text. Only the first 1000 words count.

    Words are what spaces part: the texts come normalised (`gate.evidence.meanings.normalize`).
    """
    pairs = list(itertools.combinations(texts, 2))
    if not pairs:
        return 1.0
    numbers: dict[str, str] = {}
    coded = {text: _coded(text, numbers) for text in set(texts)}
    return sum(1.0 if a == b else rouge_l(coded[a], coded[b]) for a, b in pairs) / len(pairs)


def _coded(text: str, numbers: dict[str, str]) -> str:
    """The words of a text as one sign each, the same for the same word: strings are compared faster than lists."""
    seen = text[:_MOST_SIGNS]
    said = (seen if seen.isascii() else _UNSPACED.sub(r" \1 ", seen)).split()[:_MOST_WORDS]
    return "".join([numbers.setdefault(word, chr(len(numbers))) for word in said])
