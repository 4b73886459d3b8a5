"""Gathering neighbours: what is asked, what is missing and why, and that one question is as good as many at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gate.drivers import Recording, ThreadedDriver, World
from gate.effects import Embed
from gate.embedders import HashedNgrams
from gate.errors import ConfigError, EvidenceUnavailable, UpstreamError
from gate.evidence import Draft, Neighbours, NeighboursSource
from gate.evidence.neighbours import judged_text, usable_rows
from gate.ports import Evidence, Price, Profile, Round
from gate.tuning.reference_pool import Answered, facts_of, fit
from gate.types import Cost, Generation, Message, Question, ToolCall, Usage, Vectors
from tests.evidence.pools import ENCODER, SECOND, answers, two_topics, two_topics_file

ASKED = "In which country is the city of Lagomi?"


@dataclass
class Embedding:
    """Makes of texts what it is told to, and bills a token a text."""

    name: str
    made: Callable[[Embed], tuple[tuple[float, ...], ...]]
    price: Price = Price(prompt=1e6)
    fingerprint: str = "scripted"

    def complete(self, effect: Embed, cancelled: Callable[[], bool]) -> Vectors:
        return Vectors(self.made(effect), Usage(len(effect.texts), 0))


def failing(effect: Embed) -> tuple[tuple[float, ...], ...]:
    raise UpstreamError("second", "is down")


def asked(question: str = ASKED, upstream: str = "small") -> Round:
    messages = (Message("user", "Hello"), Message("assistant", "Hi"), Message("user", question))
    return Round(0, Question(messages), upstream, Profile(), messages)


def gathered(
    source: NeighboursSource,
    round_: Round | None = None,
    generation: Generation | None = None,
    embedders: Mapping[str, object] | None = None,
) -> Neighbours:
    known = {"hashed": HashedNgrams("hashed"), "second": HashedNgrams("second", 64), **(embedders or {})}
    driver = ThreadedDriver(World({}, embedders=known))  # type: ignore[arg-type]
    evidence = Evidence().having(Draft(Cost(), generation or Generation("Nigeria"), "small"))
    try:
        fact = driver.run(source.gather(round_ or asked(), evidence), Recording())
    finally:
        driver.close()
    assert isinstance(fact, Neighbours)
    return fact


@pytest.fixture
def source() -> NeighboursSource:
    return NeighboursSource(path=two_topics_file(), embedder="hashed", second_embedder="second")


def test_one_question_at_a_time_is_as_good_as_many_at_once(source: NeighboursSource) -> None:
    texts = [ASKED, "What does Bukapol melt at?", answers(4)[2].question]
    rows = [Answered(text, "Nigeria", upstream) for text in texts for upstream in ("small", "large")]
    for row, fact in zip(rows, facts_of(two_topics(), rows, ENCODER, SECOND), strict=True):
        one = gathered(source, asked(row.question, row.upstream))
        assert isinstance(fact, Neighbours)
        assert replace(one, cost=Cost()).correct == fact.correct
        assert one.shared == fact.shared
        for name in ("distances", "similarity", "closeness", "class_closeness", "skill", "text", "base_rate"):
            assert getattr(one, name) == pytest.approx(getattr(fact, name), abs=1e-3)


def test_as_many_neighbours_as_asked_for(source: NeighboursSource) -> None:
    fact = gathered(source.model_copy(update={"k": 3}))
    assert len(fact.distances) == len(fact.correct) == len(fact.shared or ()) == 3


def test_without_a_second_embedder_there_is_no_agreement() -> None:
    fact = gathered(NeighboursSource(path=two_topics_file(), embedder="hashed"))
    assert fact.shared is None
    assert fact.text is not None


@pytest.mark.parametrize("made", [failing, lambda effect: ((1.0, 0.0),), lambda effect: ((0.0,) * 64,)])
def test_a_second_embedder_that_fails_costs_the_agreement_alone(
    source: NeighboursSource, made: Callable[[Embed], tuple[tuple[float, ...], ...]]
) -> None:
    fact = gathered(source, embedders={"second": Embedding("second", made)})
    assert fact.shared is None
    assert fact.correct == gathered(source).correct


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (failing, "is down"),
        (lambda effect: ((1.0,) * 3,) * len(effect.texts), "no unit vector of 512 places"),
        (lambda effect: ((0.0,) * 512,) * len(effect.texts), "no unit vector"),
        (lambda effect: ((float("nan"),) * 512,) * len(effect.texts), "no unit vector"),
        (lambda effect: (), "gave 0 vectors"),
    ],
)
def test_without_a_vector_of_the_question_there_is_nothing(
    source: NeighboursSource, made: Callable[[Embed], tuple[tuple[float, ...], ...]], reason: str
) -> None:
    with pytest.raises((EvidenceUnavailable, UpstreamError), match=reason):
        gathered(source, embedders={"hashed": Embedding("hashed", made)})


def test_a_question_without_a_word_has_no_neighbours(source: NeighboursSource) -> None:
    with pytest.raises(EvidenceUnavailable, match="no unit vector"):
        gathered(source, asked("  "))


def test_an_upstream_the_pool_does_not_know_is_told(source: NeighboursSource) -> None:
    with pytest.raises(EvidenceUnavailable, match="no labels for the upstream 'other'"):
        gathered(source, asked(upstream="other"))


@pytest.mark.parametrize("generation", [Generation(""), Generation("No.", refusal="no")])
def test_a_draft_that_declines_has_no_text_to_judge(source: NeighboursSource, generation: Generation) -> None:
    fact = gathered(source, generation=generation)
    assert fact.text is None
    assert fact.correct


def test_what_is_read_of_a_draft() -> None:
    called = Generation("", tool_calls=(ToolCall("1", "find", '{"b": 1, "a": 2}'),))
    assert "find" in judged_text(called)
    assert judged_text(Generation("Lagos.")) == "Lagos."


@pytest.mark.parametrize("text", ["\ud800", "نعم", "東京はどこ？", "a " * 20_000])
def test_any_text_can_be_asked_and_answered(source: NeighboursSource, text: str) -> None:
    fact = gathered(source, asked(text), Generation(text))
    assert fact.distances
    assert fact.text is not None


def test_embeddings_are_billed_but_are_no_calls(source: NeighboursSource) -> None:
    def once(effect: Embed) -> tuple[tuple[float, ...], ...]:
        return HashedNgrams("hashed").complete(effect, lambda: False).rows

    fact = gathered(source, embedders={"hashed": Embedding("hashed", once)})
    assert (fact.cost.calls, fact.cost.prompt_tokens, fact.cost.money) == (0, 2, 2.0)
    assert source.calls(Profile()) == 0


def test_what_it_uses_by_name(source: NeighboursSource) -> None:
    uses = source.uses
    assert uses.embedders == ("hashed", "second")
    assert uses.files == ((two_topics_file(), source.pool.fingerprint),)
    assert uses.fitted_with == (("hashed", "hashed_ngrams-1-512"), ("second", "hashed_ngrams-1-64"))


def test_a_pool_that_cannot_be_used_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the reference pool"):
        NeighboursSource(path=str(tmp_path / "none.npz"), embedder="hashed")
    fit(answers(60), ENCODER).save(tmp_path / "pool.npz")
    with pytest.raises(ConfigError, match="no vectors of a second embedder"):
        NeighboursSource(path=str(tmp_path / "pool.npz"), embedder="hashed", second_embedder="second")


def test_usable_rows() -> None:
    assert usable_rows((), 2) is None
    assert usable_rows(((1.0, 0.0), (1.0,)), 2) is None
    rows = usable_rows(((0.6, 0.8), (0.0, 1.005)), 2)
    assert rows is not None
    assert rows.ravel().tolist() == pytest.approx([0.6, 0.8, 0, 1])
