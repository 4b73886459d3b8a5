"""Signals of the question: cues in several languages, and what holds no cue."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence import Answerability, Asked, Rephrasings
from gate.ports import Evidence, Missing
from gate.signals.question import (
    QUESTION_SIGNALS,
    QuestionAnswerableSaid,
    QuestionClear,
    answerable,
    brevity,
    specific,
    timeless,
)
from gate.types import Cost, Message, Question


def ask(text: str) -> Question:
    return Question.from_text(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Who wrote Hamlet?", 1.0),
        ("What is the capital of France?", 1.0),
        ("What is now called Istanbul?", 1.0),
        ("Which law gives the force on an electric current?", 1.0),
        ("What is the actual name of Mark Twain?", 1.0),
        ("Who is the President of France?", 0.5),
        ("How old is Keith Richards?", 0.5),
        ("What's the weather in Paris?", 0.0),
        ("What is the latest iPhone?", 0.0),
        ("Who is the current president of France?", 0.0),
        ("What films came out this year?", 0.0),
        ("What is the stock price of Apple right now?", 0.0),
        ("¿Qué hora es en Lima?", 0.0),
        ("¿Quién es el presidente de Chile?", 0.5),
        ("¿Quién escribió el Quijote?", 1.0),
        ("Wie ist das Wetter heute?", 0.0),
        ("Wer ist der Präsident von Frankreich?", 0.5),
        ("Wer schrieb den Faust?", 1.0),
        ("Quelle est la météo à Lyon ?", 0.0),
        ("Quel jour sommes-nous aujourd\u2019hui ?", 0.0),
        ("Qui a écrit Candide ?", 1.0),
        ("北京今天天气怎么样？", 0.0),
        ("美国总统是谁？", 0.5),
        ("红楼梦的作者是谁？", 1.0),
    ],
)
def test_what_needs_the_facts_of_today_is_not_timeless(text: str, value: float) -> None:
    assert timeless(ask(text)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Who wrote Hamlet?", 1.0),
        ("Who won best actor in 1995?", 1.0),
        ("Where would you spend stotinki?", 1.0),
        ("Who will win the next election?", 0.5),
        ("What is the meaning of life?", 0.5),
        ("What is the best film?", 0.5),
        ("Why am I sad?", 0.5),
        ("Do you think that free will exists?", 0.125),
        ("Will humans ever be able to live after death?", 0.25),
    ],
)
def test_every_kind_of_cue_that_nobody_can_know_halves_it(text: str, value: float) -> None:
    assert answerable(ask(text)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Where is Lagos?", 1.0),
        ("What is the capital of Peru and how old is it?", 1.0),
        ("Is it possible for water to boil at room temperature?", 1.0),
        ("Which of these are planets: Mars, Sirius, Venus?", 1.0),
        ("When was he born?", 0.25),
        ("Who won?", 0.5),
        ('Who sings "imagine"?', 1.0),
        ("who wrote the song footprints in the sand", 1.0),
        ("Give me a list of good coffee shops in Rome", 0.25),
        ("What is the best one?", 0.25),
        ("首都はどこですか", 1.0),
    ],
)
def test_every_kind_of_cue_that_it_can_mean_many_things_halves_it(text: str, value: float) -> None:
    assert specific(ask(text)) == value


def test_what_a_pronoun_stands_for_may_have_been_said_before() -> None:
    before = (Message("user", "Who is Grass?"), Message("assistant", "A writer."), Message("user", "When was he born?"))
    assert specific(Question(before)) == 1.0
    assert specific(Question((Message("system", "Be brief."), Message("user", "When was he born?")))) == 0.25


def test_only_the_ends_of_a_long_message_are_looked_at() -> None:
    filler = "Der Text geht weiter. " * 100
    assert timeless(ask(filler + "today " + filler)) == 1.0
    assert timeless(ask("Today? " + filler)) == 0.0
    assert timeless(ask(filler + "And today?")) == 0.0


def test_brevity_counts_characters() -> None:
    assert brevity(ask(" Hm? ")) == pytest.approx(-math.log(4))
    assert brevity(ask("a" * 100)) < brevity(ask("a" * 99))


def test_a_question_without_text_has_none_of_these() -> None:
    blank = Evidence({Asked: Asked(Cost(), ask(" "))})
    said = [signal.measure(blank) for signal in QUESTION_SIGNALS[:4]]
    assert said == [Missing("the question has no text")] * 4


@given(st.text(max_size=80))
def test_any_question_can_be_read(text: str) -> None:
    for reading in (timeless, answerable, specific):
        assert 0.0 < reading(ask(text)) <= 1.0 or reading is timeless


SIXTY = (0.5, math.sqrt(0.75))


@pytest.mark.parametrize(
    ("vectors", "value"),
    [
        (((1.0, 0.0), (0.0, 1.0)), pytest.approx(0.0)),
        (((1.0, 0.0), (1.0, 0.0), SIXTY), pytest.approx((math.log(1.001) + 6.50029 / 3) / math.log(1001), abs=1e-5)),
        (((1.0, 0.0), (0.0, 0.0)), Missing("the readings have no vectors to compare")),
        ((), Missing("the readings have no vectors to compare")),
    ],
)
def test_a_question_is_clear_where_its_readings_take_little_room(
    vectors: tuple[tuple[float, ...], ...], value: object
) -> None:
    fact = Rephrasings(Cost(), ("a", "b"), vectors)
    assert QuestionClear().measure(Evidence({Rephrasings: fact})) == value


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        (Answerability(Cost(), 0.8), 0.8),
        (Answerability(Cost(), 0.0), 0.0),
        (Answerability(Cost(), None, "neither letter"), Missing("neither letter")),
    ],
)
def test_the_upstreams_own_word(fact: Answerability, value: object) -> None:
    assert QuestionAnswerableSaid().measure(Evidence({Answerability: fact})) == value
