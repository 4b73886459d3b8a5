"""What every grader settles before it compares anything."""

from __future__ import annotations

import pytest

from gate.tuning.grading.grade import Grade, declines, settled, written


@pytest.mark.parametrize("references", [(), ("",), (" ", "\n")])
def test_without_a_reference_nobody_can_tell(references: tuple[str, ...]) -> None:
    assert settled("Paris", references) == Grade(None, None, "there is no reference answer")
    assert settled("", references) == Grade(None, None, "there is no reference answer")


@pytest.mark.parametrize("answer", ["", " \n\t"])
def test_an_empty_answer_is_wrong(answer: str) -> None:
    assert settled(answer, ("Paris",)) == Grade(False, None, "the answer is empty")


def test_the_rest_is_left_to_compare() -> None:
    assert settled("Paris", ("", "Paris")) is None
    assert written(("", "Paris", " ")) == ("Paris",)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("I don't know.", True),
        ("I'm sorry, but I cannot answer that.", True),
        ("Das weiß ich nicht.", True),
        ("N/A", True),
        ("Paris", False),
        ("It is probably Paris.", False),
        ("I am not sure, but Paris.", False),
    ],
)
def test_what_declines(answer: str, expected: bool) -> None:
    assert declines(answer) is expected
