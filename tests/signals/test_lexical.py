"""Lexical similarity: among the samples and of the draft, by hand, and odd answers."""

from __future__ import annotations

import pytest

from gate.evidence import Draft, Samples
from gate.ports import Evidence, Missing
from gate.signals.lexical import DraftLexicalSimilarity, LexicalSimilarity
from gate.types import Cost, Generation, ToolCall


def readings(draft: Generation | str, *samples: Generation | str) -> tuple[float | Missing, float | Missing]:
    first, *rest = (Generation(said) if isinstance(said, str) else said for said in (draft, *samples))
    evidence = Evidence().having(Draft(Cost(), first, "small")).having(Samples(Cost(), tuple(rest)))
    return LexicalSimilarity().measure(evidence), DraftLexicalSimilarity().measure(evidence)


def test_the_draft_and_the_samples_have_one_each() -> None:
    among, of_draft = readings("Lagos", "Lagos is in Nigeria", "lagos.", "Lagos!")
    assert among == pytest.approx((1.0 + 2 * 0.4) / 3)
    assert of_draft == pytest.approx((0.4 + 1 + 1) / 3)
    assert readings("Togo", "Lagos", "Lagos") == (1.0, 0.0)


def test_scripts_without_spaces_are_compared_character_by_character() -> None:
    assert readings("東京都", "東京", "東京")[1] == pytest.approx(0.8)


def test_refusals_are_alike_and_tool_calls_only_when_equal() -> None:
    pay, pray = (Generation("", tool_calls=(ToolCall("1", "pay", f'{{"to": "{who}"}}'),)) for who in ("Ann", "Anna"))
    no = Generation("I will not", refusal="no")
    assert readings("", no, " ") == (Missing("every sample declines"), 1.0)
    assert readings("", no, " ", "Lagos") == pytest.approx((1 / 3, 2 / 3))
    assert readings("", "Lagos", "Lagos") == (1.0, 0.0)
    assert readings(pay, pay, pray) == (0.0, 0.5)


def test_one_sample_has_no_pairs_but_is_like_the_draft_or_not() -> None:
    assert readings("Lagos", "Lagos") == (Missing("one sample has no spread"), 1.0)


def test_answers_of_any_length_are_bounded_work() -> None:
    assert readings("word " * 20_000, "word " * 20_001, "\ud800 " * 20_000) == (0.0, 0.5)


@pytest.mark.parametrize("signal", [LexicalSimilarity(), DraftLexicalSimilarity()], ids=lambda signal: str(signal.name))
def test_a_reason_why_there_are_no_samples_is_passed_on(signal: LexicalSimilarity | DraftLexicalSimilarity) -> None:
    drafted = Evidence().having(Draft(Cost(), Generation("Lagos"), "small"))
    assert signal.measure(drafted) == Missing("no samples were drawn")
    assert signal.measure(drafted.lacking(Samples, "is down")) == Missing("is down")
