"""Similarities: a symmetric matrix whatever it is made from."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gate.errors import EvidenceUnavailable
from gate.evidence import AnswerVectorsSource, MeaningsSource, Similarities, SimilaritiesSource
from gate.evidence.similarities import pieces, shared_words, softened
from gate.ports import Uses
from gate.types import Cost, Entailment, Generation, ToolCall
from tests.evidence.scripted_judge import MAYBE, NO, YES, ScriptedEmbedder, ScriptedJudge, gathered
from tests.evidence.scripted_judge import given as answers

JACCARD = SimilaritiesSource()


def similarities(source: SimilaritiesSource, *texts: Generation | str, **asked: Any) -> Similarities:
    draft, *samples = texts
    fact = gathered(source, answers(draft, samples), **asked)
    assert isinstance(fact, Similarities)
    return fact


def test_words_shared_of_all_words_with_the_draft_first() -> None:
    made = similarities(JACCARD, "Lagos, Nigeria", "Nigeria", "In Nigeria: Lagos", "Togo")
    assert made.rows[0] == pytest.approx((1.0, 1 / 2, 2 / 3, 0.0))
    assert made.rows[2] == pytest.approx((2 / 3, 1 / 3, 1.0, 0.0))
    assert made.cost == Cost()


def test_samples_that_all_decline_are_not_compared() -> None:
    with pytest.raises(EvidenceUnavailable, match="every sample declines"):
        similarities(JACCARD, "Lagos", "", Generation("no", refusal="no"))


def test_the_other_kinds_without_a_judge() -> None:
    lexical = similarities(SimilaritiesSource(kind="lexical"), "Lagos in Nigeria", "In Nigeria: Lagos", "Kinshasa")
    assert lexical.rows[0][1] == 1.0
    assert 0.0 < lexical.rows[0][2] < 0.5
    embedder = ScriptedEmbedder({"Rome": (1.0, 0.0), "Roma": (0.8, 0.6), "Paris": (-1.0, 0.0)}.__getitem__)
    source = SimilaritiesSource(kind="embedding", embedder="table")
    made = similarities(source, "Rome", "Roma", "Paris", embedder=embedder)
    assert made.rows[0] == pytest.approx((1.0, 0.8, 0.0))
    assert made.cost.prompt_tokens == 3


def test_vectors_gathered_before_are_not_asked_for_again() -> None:
    evidence = answers("Rome", ["Paris"])
    first, again = ScriptedEmbedder(lambda text: (1.0, 0.0)), ScriptedEmbedder(lambda text: (1.0, 0.0))
    evidence = evidence.having(gathered(AnswerVectorsSource(embedder="table"), evidence, embedder=first))
    fact = gathered(SimilaritiesSource(kind="embedding", embedder="table"), evidence, embedder=again)
    assert isinstance(fact, Similarities)
    assert (fact.rows, fact.cost, again.asked) == (((1.0, 1.0), (1.0, 1.0)), Cost(), [])
    other = gathered(SimilaritiesSource(kind="embedding", embedder="hashed"), evidence)
    assert isinstance(other, Similarities)
    assert other.rows[0][1] < 0.5


def test_verdicts_are_softened_as_if_their_logits_were_divided() -> None:
    logits = (2.0, -1.0, 0.5)
    mass = [math.exp(x) for x in logits]
    verdict = Entailment(*(x / sum(mass) for x in mass))
    cooled = [math.exp(x / 3.0) for x in logits]
    assert softened(verdict, 3.0) == pytest.approx([x / sum(cooled) for x in cooled])
    assert softened(verdict, 1.0) == pytest.approx((verdict.entailment, verdict.neutral, verdict.contradiction))
    assert softened(Entailment(1.0, 0.0, 0.0), 3.0) == (1.0, 0.0, 0.0)
    assert softened(Entailment(0.0, 0.0, 0.0), 3.0) == (0.0, 1.0, 0.0)


def test_the_judge_gives_the_mean_of_both_directions() -> None:
    judge = ScriptedJudge(lambda premise, hypothesis: YES if premise == "Togo" else NO)
    for kind, value in (("nli_entailment", (0.9 + 0.05) / 2), ("nli_contradiction", 1 - (0.02 + 0.9) / 2)):
        options = {"kind": kind, "entailment_judge": "nli", "temperature": 1}
        made = similarities(SimilaritiesSource.model_validate(options), "Togo", "Benin", judge=judge)
        assert made.rows[0][1] == made.rows[1][0] == pytest.approx(value)
        assert (made.cost.calls, made.cost.prompt_tokens) == (0, 2)


def test_what_the_judge_said_about_the_meanings_is_not_asked_again() -> None:
    judge, evidence = ScriptedJudge(lambda premise, hypothesis: MAYBE), answers("Togo", ["Benin", "togo"])
    evidence = evidence.having(gathered(MeaningsSource(judge="nli", entailment_judge="nli"), evidence, judge=judge))
    fact = gathered(SimilaritiesSource(kind="nli_entailment", entailment_judge="nli"), evidence, judge=judge)
    assert len(judge.asked) == 1
    assert isinstance(fact, Similarities)
    assert fact.rows[0][1] == pytest.approx(0.1 ** (1 / 3) / (2 * 0.1 ** (1 / 3) + 0.8 ** (1 / 3)))


KINDS = {
    "jaccard": JACCARD,
    "lexical": SimilaritiesSource(kind="lexical"),
    "embedding": SimilaritiesSource(kind="embedding", embedder="hashed"),
    "nli_entailment": SimilaritiesSource(kind="nli_entailment", entailment_judge="nli"),
    "nli_contradiction": SimilaritiesSource(kind="nli_contradiction", entailment_judge="nli"),
}
CALL = Generation("", tool_calls=(ToolCall("1", "pay", "{}"),))
SAID = st.lists(
    st.sampled_from(["Lagos", "lagos!", "Lagos, Nigeria", "東京都", "東京", "", "🦁", "3.5"]) | st.just(CALL),
    min_size=1,
    max_size=6,
).filter(any)


@pytest.mark.parametrize("source", KINDS.values(), ids=KINDS)
@settings(max_examples=25)
@given(draft=st.sampled_from(["Lagos", "", "東京"]), said=SAID)
def test_it_is_symmetric_within_bounds_and_one_between_equals(
    source: SimilaritiesSource, draft: str, said: list[Generation | str]
) -> None:
    judge = ScriptedJudge(lambda premise, hypothesis: Entailment(0.5, 0.1, 0.4) if premise < hypothesis else NO)
    rows = np.array(similarities(source, draft, *said, judge=judge).rows)
    assert rows.shape == (len(said) + 1,) * 2
    assert (rows == rows.T).all()
    assert rows.min() >= 0.0
    assert rows.max() <= 1.0
    assert rows.diagonal().tolist() == [1.0] * len(rows)
    everyone = [draft, *said]
    assert all(rows[i, j] == 1.0 for i, a in enumerate(everyone) for j, b in enumerate(everyone) if a == b)
    assert all(rows[i, j] == 0.0 for i, a in enumerate(everyone) for j, b in enumerate(everyone) if a == "" != b)


def test_scripts_without_spaces_are_compared_character_by_character() -> None:
    assert pieces("東京都 lagos 3.5") == ["東", "京", "都", "lagos", "3.5"]
    assert similarities(JACCARD, "東京都", "東京").rows[0][1] == pytest.approx(2 / 3)


def test_texts_without_a_word_share_nothing() -> None:
    assert shared_words(["", ""]).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert shared_words([]).shape == (0, 0)


def test_eleven_answers_are_compared_in_no_time() -> None:
    texts = [f"the capital of country {n} is the city of {n % 3}" for n in range(11)]
    shared_words(texts)
    took = []
    for _ in range(20):
        began = time.perf_counter()
        shared_words(texts)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.3e-3


def test_what_a_kind_needs_by_name_is_asked_for_and_declared() -> None:
    for kind, option in (("embedding", "embedder"), ("nli_entailment", "entailment_judge")):
        with pytest.raises(ValidationError, match=f"{kind}.* needs the option '{option}'"):
            SimilaritiesSource.model_validate({"kind": kind})
    assert JACCARD.uses == Uses()
    assert KINDS["embedding"].uses == Uses(embedders=("hashed",))
    assert KINDS["nli_contradiction"].uses == Uses(judges=("nli",))
