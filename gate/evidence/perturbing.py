"""Perturbing text. Pure: randomness is handed in.

The perturbations are those of Pedapati et al. (2024): sentences moved about, a sentence amplified, stop words dropped,
an answer split in two. Which sentences name something is guessed from capitals; in scripts without case every sentence
may.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from gate.evidence.words import STOP_WORDS, names, placed_words, sentences, words

_MOST_MOVED = 5


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
    kept, at = [], 0
    for place, (begin, end, word) in enumerate(placed_words(sentence)):
        if word.casefold() in STOP_WORDS and (place == 0 or word.islower()):
            kept.append(sentence[at:begin].rstrip())
            at = end
    return "".join([*kept, sentence[at:]]).strip()


def halves(text: str, times: int, rng: random.Random) -> list[tuple[str, str]]:
    """The text cut in two at ``times`` random sentence boundaries, or at all there are; empty for one sentence."""
    parts = sentences(text)
    cuts = rng.sample(range(1, len(parts)), min(times, len(parts) - 1)) if len(parts) > 1 else []
    return [(" ".join(parts[:cut]), " ".join(parts[cut:])) for cut in cuts]
