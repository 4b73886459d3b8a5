"""From names to graders, and what holds for every one of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.drivers import Recording, ThreadedDriver
from gate.effects import Reply
from gate.errors import ConfigError, UnknownName
from gate.tuning.grading import GRADERS, ModelGrader, NumberGrader
from gate.tuning.grading.applying import AnyGrader, graded, grader, named_options
from gate.tuning.grading.grade import Grade
from gate.types import Cost, Question
from tests.scripted import Scripted, always, world_of

PURE = [kind() for kind in GRADERS if kind is not ModelGrader]
ASKED = Question.from_text("What is the capital of France?")
TEXTS = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="0123456789.,-/%$ kmABoftheis'nt\n", max_size=60),
    st.sampled_from(
        ["Paris", "not Paris", "5 km", "1,000", "12 March 2020", "B", "(b)", "I don't know", "é\u0301\ud800"]
    ),
)


def result(by: AnyGrader, answer: str, references: tuple[str, ...]) -> Grade:
    flow = graded(by, ASKED, answer, references)
    with pytest.raises(StopIteration) as stop:
        next(flow)  # an effect would be a fault: the others ask for nothing
    reply: Reply[Grade] = stop.value.value
    assert reply.cost == Cost()
    return reply.value


def test_names_are_different_and_lead_to_graders() -> None:
    assert [type(grader(kind.name, {"upstream": "judge"} if kind is ModelGrader else None)) for kind in GRADERS] == [
        *GRADERS
    ]
    assert grader("number", {"relative": 0.1}) == NumberGrader(relative=0.1)


def test_an_unknown_name_or_option_is_refused() -> None:
    with pytest.raises(UnknownName, match="unknown grader 'exakt'; did you mean 'exact'"):
        grader("exakt")
    with pytest.raises(ConfigError, match="grader 'token_f1', option 'treshold'"):
        grader("token_f1", {"treshold": 0.3})
    with pytest.raises(ConfigError, match="grader 'model', option 'upstream': Field required"):
        grader("model")
    with pytest.raises(ConfigError, match="option 'absolute'"):
        grader("number", {"absolute": float("nan")})


def test_one_that_asks_is_run_the_same_way() -> None:
    driver = ThreadedDriver(world_of({"judge": Scripted("judge", always("CORRECT"))}))
    try:
        reply = driver.run(graded(ModelGrader(upstream="judge"), ASKED, "Paris", ("Paris",)), Recording())
    finally:
        driver.close()
    assert (reply.value.correct, reply.cost.calls) == (True, 1)


@pytest.mark.parametrize("by", PURE, ids=lambda by: by.name)
class TestEvery:
    @settings(deadline=None)
    @given(answer=TEXTS, references=st.lists(TEXTS, max_size=3).map(tuple))
    def test_grader_survives_any_text_and_the_order_of_references_is_nothing_to_it(
        self, by: AnyGrader, answer: str, references: tuple[str, ...]
    ) -> None:
        grade = result(by, answer, references)
        assert grade.score is None or 0.0 <= grade.score <= 1.0
        assert grade.reason
        assert result(by, answer, tuple(reversed(references))).correct is grade.correct
        assert result(by, answer, (*references, *references)).correct is grade.correct

    @settings(deadline=None)
    @given(answer=TEXTS)
    def test_grader_leaves_open_what_has_no_reference(self, by: AnyGrader, answer: str) -> None:
        assert result(by, answer, ()).correct is None
        assert result(by, answer, ("", " ")).correct is None

    @pytest.mark.parametrize("answer", ["", " \n", "I don't know.", "I'm sorry, but I cannot answer that question."])
    @pytest.mark.parametrize("reference", ["Paris", "5 km", "12 March 2020", "B"])
    def test_grader_calls_no_refusal_right(self, by: AnyGrader, answer: str, reference: str) -> None:
        assert result(by, answer, (reference,)).correct is not True

    def test_grader_calls_the_reference_itself_right(self, by: AnyGrader) -> None:
        own = {"number": "5 km", "date": "12 March 2020", "choice": "B"}.get(by.name, "Paris")
        assert result(by, own, (own,)).correct is True


def test_options_are_names_and_values() -> None:
    assert named_options(["tolerance=0.1", "unit=a=b", "empty="]) == {"tolerance": "0.1", "unit": "a=b", "empty": ""}
    for bad in ("tolerance", "=0.1", ""):
        with pytest.raises(ConfigError, match=f"an option is given as name=value, not as {bad!r}"):
            named_options(["fine=1", bad])
