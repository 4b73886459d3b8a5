"""Answer vectors: what is embedded, what stands at a right angle, and vectors that are none."""

from __future__ import annotations

import math

import pytest

from gate.errors import EvidenceUnavailable
from gate.evidence import AnswerVectors, AnswerVectorsSource, Draft, Samples
from gate.evidence.answer_vectors import cosines
from gate.ports import Evidence, Uses
from gate.types import Cost, Generation, ToolCall, Vector
from tests.evidence.scripted_judge import ROUND, ScriptedEmbedder, gathered, given

TABLE = AnswerVectorsSource(embedder="table")
DIRECTIONS: dict[str, Vector] = {"Rome": (3.0, 0.0), "Roma": (0.8, 0.6), "Paris": (0.0, 1.0), "?": (0.0, 0.0)}


def vectors(*texts: Generation | str, embedder: ScriptedEmbedder | None = None) -> AnswerVectors:
    draft, *samples = texts
    fact = gathered(TABLE, given(draft, samples), embedder=embedder or ScriptedEmbedder(DIRECTIONS.__getitem__))
    assert isinstance(fact, AnswerVectors)
    return fact


def test_each_wording_is_embedded_once_and_brought_to_unit_length() -> None:
    embedder = ScriptedEmbedder(DIRECTIONS.__getitem__)
    made = vectors("Rome", "Paris", "rome!", "Roma", embedder=embedder)
    assert [effect.texts for effect in embedder.asked] == [("Paris", "Roma", "Rome")]
    assert made.rows == ((1.0, 0.0), (0.0, 1.0), (1.0, 0.0), (0.8, 0.6))
    assert made.cosines[0] == pytest.approx((1.0, 0.0, 1.0, 0.8))
    assert made.cosines[3] == pytest.approx((0.8, 0.6, 0.8, 1.0))
    assert (made.embedder, made.cost.calls, made.cost.prompt_tokens) == ("table", 0, 3)


def test_what_says_nothing_is_at_a_right_angle_to_all_but_its_equals() -> None:
    call = Generation("", tool_calls=(ToolCall("1", "pay", "{}"),))
    made = vectors("Rome", Generation("", refusal="no"), " ", call, "?", "?", "Rome")
    assert made.rows == ((1.0, 0.0), None, None, None, None, None, (1.0, 0.0))
    same = [0, 1, 1, 2, 0]  # the embedder sees nothing in "?"
    assert made.cosines == tuple(tuple(float(a == b) for b in same) for a in same)


def test_refusals_alone_are_not_embedded() -> None:
    embedder = ScriptedEmbedder(DIRECTIONS.__getitem__)
    with pytest.raises(EvidenceUnavailable, match="every sample declines"):
        vectors("Rome", Generation("x", refusal="no"), " ", embedder=embedder)
    assert embedder.asked == []


@pytest.mark.parametrize("bad", [(math.nan, 1.0), (math.inf, 1.0), (1.0,)], ids=str)
def test_vectors_that_are_none_are_no_evidence_but_have_their_cost(bad: Vector) -> None:
    embedder = ScriptedEmbedder(lambda text: bad if text == "Paris" else (1.0, 0.0))
    with pytest.raises(EvidenceUnavailable, match="gave no vector of one length for each text") as caught:
        vectors("Rome", "Paris", embedder=embedder)
    assert caught.value.cost is not None
    assert caught.value.cost.prompt_tokens == 2


def test_without_samples_the_reason_they_lack_is_passed_on() -> None:
    evidence = Evidence().having(Draft(Cost(), Generation("Rome"), "small")).lacking(Samples, "is down")
    with pytest.raises(EvidenceUnavailable, match="is down"):
        next(TABLE.gather(ROUND, evidence))


def test_text_that_cannot_be_sent_is_mended_and_the_embedder_declared() -> None:
    embedder = ScriptedEmbedder(lambda text: (1.0, 0.0))
    vectors("x\ud800", "y", embedder=embedder)
    assert embedder.asked[0].texts == ("x?", "y")
    assert TABLE.uses == Uses(embedders=("table",))


def test_rounding_never_takes_a_cosine_out_of_its_range() -> None:
    third: Vector = (3**-0.5,) * 3
    between = cosines([third, tuple(-x for x in third), None])
    assert (between >= -1.0).all()
    assert (between <= 1.0).all()
    assert between.diagonal().tolist() == [1.0] * 3
