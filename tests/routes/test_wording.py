"""What gate says itself: every text in every language, whole, and one for every reason."""

from __future__ import annotations

import re

import pytest

from gate.routes.language import language_of
from gate.routes.wording import refusal, spoken, worded, wordings

REASONS = (
    "uncertain", "model_declined", "budget_spent", "cut_short", "out_of_distribution", "certificate_void",
    "calibrator_failed", "no_passages", "retriever_failed", "upstream_failed", "upstream_timeout",
)  # fmt: skip
PLACES = {"hedged": ["answer"], "handed": ["reference"]}
each = pytest.mark.parametrize("language", sorted(wordings()))


@each
def test_a_language_has_every_text_with_its_places_and_none_more(language: str) -> None:
    texts = wordings()[language]
    assert texts.keys() == wordings()["en"].keys()
    for what, text in texts.items():
        assert text == text.strip() != ""
        assert re.findall(r"\{(\w+)\}", text) == PLACES.get(what, []), what
    assert len(set(texts.values())) == len(texts)


@each
def test_what_is_said_in_a_language_is_taken_for_that_language(language: str) -> None:
    for what in ("uncertain", "nothing_found", "clarify"):
        assert language_of(wordings()[language][what]) == language, what


def test_there_are_at_least_twelve_languages() -> None:
    assert len(wordings()) >= 12


@each
def test_reasons_of_different_kinds_are_told_apart(language: str) -> None:
    said = {reason: refusal(reason, language) for reason in REASONS}
    alike = [{"certificate_void", "calibrator_failed"}, {"retriever_failed", "upstream_failed", "upstream_timeout"}]
    for reason, text in said.items():
        group = next((group for group in alike if reason in group), {reason})
        assert {other for other, said_then in said.items() if said_then == text} == group
    assert refusal("a reason of a rule that is anyone's", language) == said["uncertain"]


def test_what_is_filled_in_holds_no_places_of_its_own() -> None:
    assert worded("hedged", "en", answer="{answer} {reference}") == "I am not sure, but it may be: {answer} {reference}"


def test_a_language_without_texts_falls_back() -> None:
    assert worded("found", "fi") == worded("found", "en")
    assert spoken("Wo liegt Lagos?", "fr") == "de"
    assert spoken("Lagos?", "fr") == "fr"
