"""ROUGE-L by hand and by the textbook, and its mean over pairs counted by how often they occur."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence.rouge import mean_rouge, mean_rouge_to, rouge_l, rouge_l_recall, token_f1
from gate.evidence.words import spaced_words

TEXTS = st.text(max_size=60) | st.lists(
    st.sampled_from(["Lagos is big. ", "It rains. ", "in Paris? ", "東京です。", "no! ", "\ud800 "]), max_size=9
).map("".join)


def f1(one: list[str], other: list[str]) -> float:
    """ROUGE-L by the textbook: longest common subsequence, precision, recall."""
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            table[i + 1][j + 1] = table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
    common = table[-1][-1]
    if not common:
        return float(not one and not other)
    precision, recall = common / len(one), common / len(other)
    return 2 * precision * recall / (precision + recall)


WORDS = st.lists(st.sampled_from(["lagos", "in", "nigeria", "東"]), max_size=7)


@given(WORDS, WORDS)
def test_it_is_the_f1_of_the_longest_common_subsequence(one: list[str], other: list[str]) -> None:
    assert rouge_l(one, other) == pytest.approx(f1(one, other))


@given(st.lists(WORDS.map(tuple), min_size=2, max_size=7))
def test_the_mean_is_over_all_pairs_though_equal_answers_are_compared_once(answers: list[tuple[str, ...]]) -> None:
    pairs = [rouge_l(one, other) for one, other in combinations(answers, 2)]
    assert mean_rouge(answers) == pytest.approx(sum(pairs) / len(pairs))


@pytest.mark.parametrize(
    ("one", "other", "value"),
    [
        ("the cat sat on the mat", "the cat is on the mat", 10 / 12),
        ("a b c d", "d c b a", 2 / 8),
        ("a b c d", "a c", 4 / 6),
        ("a", "b", 0.0),
        ("a", "", 0.0),
        ("", "", 1.0),
    ],
)
def test_rouge_l_by_hand(one: str, other: str, value: float) -> None:
    assert rouge_l(one.split(), other.split()) == pytest.approx(value)


@pytest.mark.parametrize(
    ("texts", "value"),
    [
        (["nigeria", "nigeria", "in nigeria"], (1 + 2 / 3 + 2 / 3) / 3),
        (["excellent", "great", "fantastic", "bad", "subpar"], 0.0),
        (["ville de lagos à côté", "lagos à côté"], 6 / 8),
        (["東京です", "東京だ"], 2 * 2 / 7),
        (["nigeria"], 1.0),
        ([], 1.0),
        (["", ""], 1.0),
        (["\u2028", ""], 1.0),
    ],
)
def test_mean_rouge_over_all_pairs(texts: list[str], value: float) -> None:
    assert mean_rouge([spaced_words(text) for text in texts]) == pytest.approx(value)


def test_very_long_answers_are_compared_by_their_first_words() -> None:
    same = "word " * 1000
    assert mean_rouge([spaced_words(same + "x " * 20_000), spaced_words(same + "y " * 20_000)]) == 1.0


@given(one=TEXTS, other=TEXTS)
def test_rouge_is_symmetric_and_lies_between_nothing_and_all(one: str, other: str) -> None:
    a, b = spaced_words(one), spaced_words(other)
    value = mean_rouge([a, b])
    assert 0.0 <= value <= 1.0
    assert value == mean_rouge([b, a])
    assert mean_rouge([a, a]) == 1.0


@given(WORDS.map(tuple), st.lists(WORDS.map(tuple), min_size=1, max_size=7))
def test_the_mean_to_one_answer_is_over_all_others(one: tuple[str, ...], others: list[tuple[str, ...]]) -> None:
    assert mean_rouge_to(one, others) == pytest.approx(sum(rouge_l(one, other) for other in others) / len(others))


def test_recall_is_of_the_wanted_words_and_f1_of_both() -> None:
    assert rouge_l_recall(("a", "b", "c"), ("x", "a", "c")) == pytest.approx(2 / 3)
    assert rouge_l_recall(("a", "b"), ("b", "a")) == 0.5
    assert (rouge_l_recall((), ("a",)), rouge_l_recall(("a",), ())) == (1.0, 0.0)
    assert token_f1(("a", "b"), ("b", "a")) == 1.0
    assert token_f1(("a", "b"), ("a",)) == pytest.approx(2 / 3)
    assert token_f1((), ()) == 0.0
