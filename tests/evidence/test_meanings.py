"""Meanings: which answers count as the same, in any script, in any order."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from gate.errors import EvidenceUnavailable
from gate.evidence import Draft, Meanings, MeaningsSource, Samples
from gate.evidence.meanings import answer_text, group, normalize
from gate.ports import Evidence, Profile, Round
from gate.types import Cost, Generation, Question, ToolCall

ASKED = Question.from_text("Where is Lagos?")
ROUND = Round(0, ASKED, "small", Profile(), ASKED.messages)
LEXICAL = MeaningsSource(judge="lexical")


def meanings(
    draft: Generation | str, samples: list[Generation | str], source: MeaningsSource | None = None
) -> Meanings:
    first, *rest = (Generation(given) if isinstance(given, str) else given for given in (draft, *samples))
    evidence = Evidence().having(Draft(Cost(), first, "small")).having(Samples(Cost(), tuple(rest)))
    with pytest.raises(StopIteration) as stopped:
        next((source or MeaningsSource()).gather(ROUND, evidence))
    assert isinstance(stopped.value.value, Meanings)
    return stopped.value.value


def calling(*calls: tuple[str, str]) -> Generation:
    return Generation("", tool_calls=tuple(ToolCall(f"id-{i}", *call) for i, call in enumerate(calls)))


def test_labels_follow_the_draft_then_first_appearance_and_cost_nothing() -> None:
    made = meanings("Nigeria", ["Ghana", "nigeria.", "Togo", "ghana"])
    assert (made.draft, made.samples, made.cost) == (0, (1, 0, 2, 1), Cost())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Nigeria", "nigeria."),
        ("The Gambia", "gambia"),
        ("  New \n York ", "new york"),
        ("Guinea-Bissau", "GuineaBissau"),
        ("STRASSE", "straße"),
        ("３", "3"),
        ("café", "cafe\u0301"),
        ("القاهرة", " القاهرة."),
        ("👩‍🚀", "👩‍🚀!"),
        ("東京!", "東京"),
    ],
)
def test_case_width_punctuation_articles_and_spacing_make_no_difference(one: str, other: str) -> None:
    assert normalize(one) == normalize(other)


@pytest.mark.parametrize(
    ("one", "other"), [("東京。", "東京"), ("“Paris”", "Paris"), ("«Київ»", "Київ"), ("؟نعم", "نعم")]
)
def test_the_punctuation_of_any_script_makes_no_difference(one: str, other: str) -> None:
    assert normalize(one) == normalize(other)


@pytest.mark.parametrize("choice", ["A.", "(A)", "a)", "A:"])
def test_a_choice_named_like_an_article_is_told_by_its_letter(choice: str) -> None:
    assert normalize(choice) == normalize("A") == "a"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Nigeria", "Niger"),
        ("12", "21"),
        ("東京", "京都"),
        ("👍", "👎"),
        ("!", "?"),
        ("نعم", "لا"),
        ("1", "-"),
        (".5", "5"),
    ],
)
def test_what_differs_stays_different(one: str, other: str) -> None:
    made = meanings(one, [other, one])
    assert (made.draft, made.samples) == (0, (1, 0))


@pytest.mark.parametrize("text", ["the", "?!", "…", "+", "a", "- -"])
def test_text_of_nothing_else_is_not_lost(text: str) -> None:
    assert normalize(text)


WRITTEN = st.text(alphabet="aethn35.,-' \u0301\u0345İßΐ가Aﬁ", max_size=8) | st.text(max_size=8)


@given(WRITTEN)
@example("e.\u0301")
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalize(normalize(text)) == normalize(text)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=20), st.sampled_from(["{}.", " {} ", "The {}", "{}!?"]))
def test_what_stands_around_an_answer_makes_no_difference(text: str, frame: str) -> None:
    answer = f"7{text}7"
    assert normalize(frame.format(answer)) == normalize(answer)


def test_tool_calls_are_compared_with_their_arguments_in_canonical_form() -> None:
    draft = calling(("weather", '{"city": "Lagos", "days": [1, 2]}'))
    samples: list[Generation | str] = [
        calling(("weather", '{ "days":[1,2],\n "city":"L\\u0061gos" }')),
        calling(("weather", '{"city": "Lagos", "days": [2, 1]}')),
        calling(("forecast", '{"city": "Lagos", "days": [1, 2]}')),
        calling(("weather", '{"city": "Lagos", "days": [1, 2]}'), ("weather", "{}")),
        "weather Lagos",
    ]
    assert meanings(draft, samples).samples == (0, 1, 2, 3, 4)


def test_tool_calls_are_never_the_same_for_looking_alike() -> None:
    one, other = (calling(("transfer_money", f'{{"to": "{who}", "amount": 100}}')) for who in ("Anna", "Anne"))
    assert meanings(one, [one, other], MeaningsSource(judge="lexical")).samples == (0, 1)


def test_tool_calls_with_broken_arguments_are_compared_as_they_are_written() -> None:
    broken = calling(("weather", '{"city": '))
    assert meanings(broken, [broken, calling(("weather", '{"city":'))]).samples == (0, 1)


@pytest.mark.parametrize(
    "arguments",
    ["[" * 100_000, "1" * 5_000, "NaN", "", "\ud800"],
    ids=["deep", "long number", "no number", "empty", "half a character"],
)
def test_no_arguments_a_model_may_write_are_too_much(arguments: str) -> None:
    call = calling(("weather", arguments))
    assert meanings(call, [call, calling(("weather", "{}"))]).samples == (0, 1)


def test_refusals_and_empty_answers_mean_the_same_whatever_their_words() -> None:
    declining: list[Generation | str] = [Generation("", refusal="I will not."), Generation("No.", refusal="No."), " \n"]
    assert meanings(Generation("", refusal="I cannot."), [*declining, "Nigeria"]).samples == (0, 0, 0, 1)
    assert answer_text(Generation("No.", refusal="No.")) == ""


def test_the_lexical_judge_lets_words_change_places_and_the_normalised_one_does_not() -> None:
    one, other = "Lagos in Nigeria", "in Nigeria: Lagos"
    assert meanings(one, [other], LEXICAL).samples == (0,)
    assert meanings(one, [other]).samples == (1,)


def test_the_similarity_asked_for_decides() -> None:
    assert [
        meanings("Kinshasa", ["Kinshassa"], MeaningsSource(judge="lexical", similarity=s)).samples for s in (90, 99)
    ] == [(0,), (1,)]


def test_answers_joined_by_a_chain_of_likenesses_are_one_meaning() -> None:
    assert group(["ab", "cd", "bc", "xy"], lambda a, b: bool(set(a) & set(b))) == [0, 0, 0, 1]


ANSWER = st.text(alphabet="ab", min_size=1, max_size=6) | st.sampled_from(["The a", "🦁", "東京", "לגוס", "?", ""])


@given(st.data(), st.lists(ANSWER, min_size=1, max_size=8), ANSWER, st.sampled_from(["normalized", "lexical"]))
def test_the_order_of_the_samples_changes_nothing(
    data: st.DataObject, texts: list[str], draft: str, judge: str
) -> None:
    source = MeaningsSource.model_validate({"judge": judge, "similarity": 60})
    order = data.draw(st.permutations(range(len(texts))))
    before = meanings(draft, list(texts), source)
    after = meanings(draft, [texts[place] for place in order], source)
    renamed = [before.samples[place] for place in order]
    assert [label == before.draft for label in renamed] == [label == after.draft for label in after.samples]
    assert [[a == b for b in renamed] for a in renamed] == [[a == b for b in after.samples] for a in after.samples]


def test_without_samples_the_reason_they_lack_is_passed_on() -> None:
    evidence = Evidence().having(Draft(Cost(), Generation("Nigeria"), "small"))
    for known, reason in ((evidence, "no samples were drawn"), (evidence.lacking(Samples, "is down"), "is down")):
        with pytest.raises(EvidenceUnavailable, match=reason):
            next(MeaningsSource().gather(ROUND, known))


def test_without_a_draft_there_is_nothing_to_compare_with() -> None:
    with pytest.raises(EvidenceUnavailable, match="no draft"):
        next(MeaningsSource().gather(ROUND, Evidence().having(Samples(Cost(), (Generation("Nigeria"),)))))


@pytest.mark.parametrize("wrong", [{"judge": "guess"}, {"similarity": 101}, {"similarity": -1}])
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MeaningsSource.model_validate(wrong)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3.5", "35"),
        (".5", "5"),
        ("-5", "5"),
        ("\u22125", "5"),
        ("3-1", "31"),
        ("10:30", "1030"),
        ("1/2", "12"),
        ("2026-11-24", "20261124"),
    ],
)
def test_marks_that_make_another_number_are_kept(one: str, other: str) -> None:
    assert normalize(one) != normalize(other)
    assert normalize(f"It is {one}.") == normalize(f"it is {one}")
