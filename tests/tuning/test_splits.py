"""Splits: by the question alone, kept for good, in the shares that were said."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import ConfigError
from gate.tuning.collection import Collection
from gate.tuning.examples import Example
from gate.tuning.splits import WITH_TESTS, Shares, chosen_shares, read_shares, split_by
from gate.types import Message, Passage, Question
from tests.tuning.collected import examples


@pytest.mark.parametrize(("fit", "certify"), [(0.4, 0.6), (0.3, 0.3), (0.05, 0.9)])
def test_each_split_gets_its_share(fit: float, certify: float) -> None:
    n, shares = 4000, Shares(fit, certify)
    counted = dict.fromkeys(("fit", "certify", "test"), 0)
    for example in examples(n):
        counted[shares.of(example)] += 1
    for split, share in (("fit", fit), ("certify", certify), ("test", 1 - fit - certify)):
        assert abs(counted[split] - n * share) <= 4 * math.sqrt(n * share * max(0.0, 1 - share)) + 1e-9


@given(st.floats(0.01, 0.99), st.text())
def test_shares_that_sum_to_one_leave_nothing_to_test(fit: float, key: str) -> None:
    assert Shares(fit, 1 - fit).split(key) in ("fit", "certify")


@pytest.mark.parametrize(("fit", "certify"), [(0.0, 0.5), (0.5, 0.0), (1.0, 0.5), (0.6, 0.5), (float("nan"), 0.5)])
def test_shares_that_are_none_are_refused(fit: float, certify: float) -> None:
    with pytest.raises(ValueError, match="shares must lie between 0 and 1"):
        Shares(fit, certify)


def test_the_split_is_that_of_the_question_whoever_asks_it_and_how() -> None:
    shares = Shares(0.34, 0.33)
    found = set()
    for place in range(40):
        text = f"Where is town number {place}?"
        plain = Example("a", Question.from_text(text), references=("x",), segment="s")
        told = Question((Message("system", "Be brief."), Message("user", text.upper())), {"temperature": 1.0})
        assert shares.of(plain) == shares.of(Example("b", told))
        found.add((shares.of(plain), shares.of(replace(plain, passages=(Passage("1", "Read this."),)))))
    assert len({split for split, _ in found}) == 3
    assert any(one != other for one, other in found), "another passage makes another question"


def test_an_example_may_say_its_split() -> None:
    for example in examples(20):
        for split in ("fit", "certify", "test"):
            assert Shares().of(replace(example, split=split)) == split


def test_more_questions_move_none_of_those_there() -> None:
    shares = Shares(0.3, 0.3)
    assert [shares.of(e) for e in examples(50)] == [shares.of(e) for e in examples(500)][:50]


def test_moving_a_border_moves_only_the_questions_beside_it() -> None:
    for example in examples(300):
        narrow, wide = Shares(0.3, 0.5).of(example), Shares(0.4, 0.5).of(example)
        assert (narrow, wide) in {
            ("fit", "fit"),
            ("certify", "fit"),
            ("certify", "certify"),
            ("test", "certify"),
            ("test", "test"),
        }


def test_a_collection_keeps_the_shares_it_was_first_split_by(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c.db") as collection:
        assert read_shares(collection) is None
        assert split_by(collection, Shares(0.3, 0.45)) == Shares(0.3, 0.45)
    with Collection.open(tmp_path / "c.db") as collection:
        assert read_shares(collection) == Shares(0.3, 0.45)
        assert split_by(collection, None) == split_by(collection, Shares(0.3, 0.45)) == Shares(0.3, 0.45)
        with pytest.raises(ConfigError, match=r"c\.db: a policy was tuned on it with shares of 0\.3 and 0\.45: keep"):
            split_by(collection, Shares())
        assert read_shares(collection) == Shares(0.3, 0.45)


def test_without_a_word_the_shares_are_the_usual_and_kept_too(tmp_path: Path) -> None:
    assert Shares(0.35, 0.45) == WITH_TESTS
    with Collection.create(tmp_path / "c.db") as collection:
        assert split_by(collection, None) == WITH_TESTS
        assert read_shares(collection) == WITH_TESTS
        with pytest.raises(ConfigError, match="or tune a copy of the file"):
            split_by(collection, Shares(0.35, 0.5))


def test_without_a_word_a_fifth_is_left_to_judge_the_result() -> None:
    n = 4000
    tests = sum(WITH_TESTS.of(example) == "test" for example in examples(n))
    assert abs(tests - 0.2 * n) <= 4 * math.sqrt(n * 0.2 * 0.8)


@pytest.mark.parametrize(
    ("fit", "certify", "shares"),
    [
        (None, None, None),
        (0.3, None, Shares(0.3, 0.45)),
        (0.7, None, Shares(0.7, 1 - 0.7)),
        (None, 0.2, Shares(0.35, 0.2)),
        (0.5, 0.5, Shares(0.5, 0.5)),
    ],
)
def test_one_share_chosen_leaves_the_other_as_it_was_or_what_is_left(
    fit: float | None, certify: float | None, shares: Shares | None
) -> None:
    assert chosen_shares(fit, certify) == shares


def test_shares_of_more_than_all_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"are 1\.2 together: they may be 1 at most"):
        chosen_shares(0.6, 0.6)
