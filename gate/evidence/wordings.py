"""Wordings: which different answers there are among the draft and the samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gate.evidence.answer_forms import answer_text as answer_text
from gate.evidence.answer_forms import arguments_of as arguments_of
from gate.evidence.answer_forms import normalize as normalize
from gate.evidence.answer_forms import written as written
from gate.evidence.asking import refused
from gate.evidence.citations import said
from gate.evidence.draft import draft_of
from gate.evidence.samples import samples_of
from gate.ports import Evidence
from gate.types import Generation


@dataclass(frozen=True, slots=True)
class Wordings:
    """The different answers among draft and samples, in sorted order, whatever the order of the samples."""

    forms: tuple[str, ...]
    """What they are told apart by; "" for a refusal."""
    texts: tuple[str | None, ...]
    """How it was written by one who gave it; None for tool calls and refusals, which are like their equals alone."""
    places: tuple[int, ...]
    """Which of them the draft gave, then which each sample gave."""

    @property
    def prose(self) -> tuple[int, ...]:
        """Those that can be compared by what they say."""
        return tuple(place for place, text in enumerate(self.texts) if text is not None)


def wordings(evidence: Evidence, form: Callable[[Generation], str] | None = None) -> Wordings:
    """The different answers of a round, told apart by ``form`` (default: `answer_text`).

    Raises `EvidenceUnavailable` when there are no samples.
    """
    samples = samples_of(evidence)
    answers = [draft_of(evidence).generation, *samples]
    forms = list(map(form or answer_text, answers))
    texts: dict[str, str | None] = dict.fromkeys(sorted(set(forms)))
    for generation, own in zip(answers, forms, strict=True):
        if not (generation.tool_calls or refused(generation)):
            text, known = said(generation).strip(), texts[own]
            texts[own] = text if known is None else min(known, text, key=lambda t: (len(t), t))
    order = {own: place for place, own in enumerate(texts)}
    return Wordings(tuple(texts), tuple(texts.values()), tuple(order[own] for own in forms))
