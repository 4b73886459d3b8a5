"""Rows by request, from the step that computes them to the reply that holds their block."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.engine_plugin import collecting
from gate.engine_plugin.asking import FIELD, Opening
from gate.engine_plugin.collecting import Collector, Span
from gate.hidden_states.block import pooled, unpacked
from gate.hidden_states.layout import KEY_TOKENS, Floats, Layout
from gate.types import InternalStates

LAYOUT = Layout(4, 8, (2, 4))
SIZE = 4
"""Tokens in a block of the cache."""


def rows(count: int, seed: int = 0) -> Floats:
    made = np.random.default_rng(seed).standard_normal((count, LAYOUT.row_length)).astype(np.float32)
    made[KEY_TOKENS:, LAYOUT.row_parts["states"] + LAYOUT.row_parts["scales"] :] = np.nan
    return made


def started(request: str = "r", wanted: Opening | None = None, blocks: int = 200) -> Collector:
    collector = Collector(SIZE)
    collector.open(request, Opening(first=5) if wanted is None else wanted)
    collector.place(request, range(blocks), anew=True)
    return collector


def states(block: dict[str, Any]) -> InternalStates:
    return InternalStates(**{**block, "layers": tuple(block["layers"])})


def test_only_rows_from_the_token_before_the_answer_on_are_wanted() -> None:
    collector = started(blocks=3)
    assert collector.span("r", 0, 4) is None, "a part of the prompt"
    assert collector.span("r", 4, 2) == Span("r", 0, (5,), (-1,))
    assert collector.span("r", 6, 1) == Span("r", 1, (6,), (-1,))
    assert collector.span("r", 5, 3) == Span("r", 0, (5, 6, 7), (-1, -1, -1))


def test_slots_follow_the_blocks_a_request_has_now() -> None:
    collector = Collector(SIZE)
    collector.open("r", Opening(first=2))
    collector.place("r", [7], anew=True)
    collector.place("r", [3], anew=False)
    assert collector.span("r", 2, 4) == Span("r", 0, (30, 31, 12, 13), (-1,) * 4)
    collector.place("r", [1, 2], anew=True)  # after a preemption
    assert collector.span("r", 2, 4) == Span("r", 0, (6, 7, 8, 9), (-1,) * 4)


def test_targets_are_those_of_the_first_rows_alone() -> None:
    collector = started()
    span = collector.span("r", 5 + KEY_TOKENS - 2, 5)
    assert span is not None
    assert (len(span.slots), len(span.targets)) == (5, 2)
    later = collector.span("r", 5 + KEY_TOKENS, 1)
    assert later == Span("r", KEY_TOKENS, (5 + KEY_TOKENS,), ())


def test_of_a_given_answer_the_following_tokens_are_the_targets_and_its_end_the_end() -> None:
    collector = started(wanted=Opening(first=5, end=8, following=(70, 80)))
    assert collector.span("r", 0, 8) == Span("r", 0, (5, 6, 7), (70, 80, -1))
    assert collector.span("r", 8, 1) is None, "what comes after it is not asked for"


def test_the_block_of_an_answer_is_that_of_its_rows() -> None:
    collector, made = started(), rows(20)
    collector.add("r", 0, made[:1])
    collector.add("r", 1, made[1:19])
    reply = collector.end("r", 5 + 20)  # 19 rows: the last token was never taken in
    collector.add("r", 19, made[19:])  # computed ahead, before the end was known
    collector.settle(LAYOUT, "abc")
    block = reply[FIELD]["0"]
    read = unpacked(states(block))
    expected = pooled(LAYOUT, "abc", made[:19])
    np.testing.assert_allclose(read.numbers, expected.numbers.astype(np.float16).astype(np.float32))
    assert (block["answer_tokens"], block["model"], block["layers"]) == (18, "abc", (2, 4))
    assert len(collector) == 0


def test_of_a_given_answer_what_the_server_wrote_after_it_does_not_count() -> None:
    collector = started(wanted=Opening(first=5, end=8, following=(70, 80)))
    collector.add("r", 0, rows(3))
    reply = collector.end("r", 9)
    collector.settle(LAYOUT, "abc")
    assert reply[FIELD]["0"]["answer_tokens"] == 2


@pytest.mark.parametrize(
    ("given_rows", "tokens", "said"),
    [
        (rows(1), 6 + 1, "took in no token"),
        (rows(0), 6, "took in no token"),
        (rows(2), 6 + 3, "row 2 of 3 was not read"),
        (np.full((3, LAYOUT.row_length), np.nan, np.float32), 5 + 4, "not a finite number"),
        (np.full((3, LAYOUT.row_length), np.inf, np.float32), 5 + 4, "not a finite number"),
    ],
)
def test_where_there_is_no_block_the_reply_says_why(given_rows: Floats, tokens: int, said: str) -> None:
    collector = started()
    collector.add("r", 0, given_rows)
    reply = collector.end("r", tokens)
    assert "missing" in reply[FIELD]["0"], "true even if nothing ever comes of it"
    collector.settle(LAYOUT, "abc")
    assert said in reply[FIELD]["0"]["missing"]


def test_a_reason_known_from_the_start_is_the_reason_at_the_end() -> None:
    collector = started(wanted=Opening(missing="no text"))
    assert collector.span("r", 0, 9) is None
    collector.add("r", 0, rows(4))
    reply = collector.end("r", 9)
    collector.settle(LAYOUT, "")
    assert reply == {FIELD: {"0": {"missing": "no text"}}}


def test_a_fault_of_a_step_is_the_reason_of_its_requests() -> None:
    collector = started()
    collector.refuse(["r", "unknown"], "broken")
    reply = collector.end("r", 9)
    collector.settle(LAYOUT, "")
    assert reply == {FIELD: {"0": {"missing": "broken"}}}


def test_answers_beyond_all_measure_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "MOST_ROWS", 10)
    collector = started()
    collector.add("r", 0, rows(10))
    assert collector.span("r", 5, 10) is not None
    assert collector.span("r", 15, 1) is None
    reply = collector.end("r", 5 + 12)
    collector.settle(LAYOUT, "abc")
    assert "more than 10 tokens" in reply[FIELD]["0"]["missing"]


def test_answers_to_one_request_are_in_the_reply_that_goes_out_last() -> None:
    collector = Collector(SIZE)
    replies = []
    for child in ("0_chat-x", "1_chat-x", "2_chat-x", "0_chat-y"):
        collector.open(child, Opening(first=5))
    for place, child in enumerate(("1_chat-x", "0_chat-y", "0_chat-x", "2_chat-x")):
        collector.add(child, 0, rows(3 + place))
        replies.append(collector.end(child, 5 + 4 + place))
        collector.settle(LAYOUT, "abc")
    found = {index: block["answer_tokens"] for index, block in replies[-1][FIELD].items()}
    assert found == {"1": 2, "0": 4, "2": 5}
    assert {index: block["answer_tokens"] for index, block in replies[1][FIELD].items()} == {"0": 3}


def test_answers_that_end_in_one_step_are_in_each_others_replies() -> None:
    collector = Collector(SIZE)
    for child in ("0_r", "1_r"):
        collector.open(child, Opening(first=5))
        collector.add(child, 0, rows(3))
    first, second = collector.end("0_r", 9), collector.end("1_r", 9)
    collector.settle(LAYOUT, "abc")
    assert set(first[FIELD]) == set(second[FIELD]) == {"0", "1"}


def test_a_request_of_which_nothing_is_read_is_told_beside_its_siblings() -> None:
    collector = Collector(SIZE)
    collector.open("3_r", Opening(first=5))
    assert collector.without("3_r", "broken") == {FIELD: {"3": {"missing": "broken"}}}
    assert set(collector.without("4_r", "broken")[FIELD]) == {"3", "4"}
    assert collector.without("r", "broken") == {FIELD: {"0": {"missing": "broken"}}}
    assert len(collector) == 0


def test_nothing_is_held_of_requests_that_ended_or_were_aborted() -> None:
    collector = started()
    collector.drop("r")
    collector.drop("r")
    collector.add("r", 0, rows(3))
    assert "r" not in collector
    for number in range(3 * collecting.MOST_FAMILIES):
        collector.without(f"0_{number}", "broken")
    assert len(collector._families) == collecting.MOST_FAMILIES


STEPS = st.lists(st.tuples(st.integers(1, 7), st.booleans()), min_size=1, max_size=12)


@given(prompt=st.integers(1, 12), steps=STEPS, surplus=st.booleans())
def test_however_an_answer_is_cut_into_steps_its_block_is_the_same(
    prompt: int, steps: list[tuple[int, bool]], surplus: bool
) -> None:
    """Chunks of a prompt, and preemptions, after which all is computed again."""
    length = prompt + 18
    made = rows(length, seed=prompt)
    collector = started(wanted=Opening(first=prompt - 1))
    at = 0
    for tokens, preempted in [*steps, (length, False)]:
        tokens = min(tokens, length - at)
        span = collector.span("r", at, tokens) if tokens else None
        at += tokens
        if span is not None:
            assert span.slots == tuple(range(prompt - 1 + span.start, at))
            collector.add("r", span.start, made[span.start : span.start + len(span.slots)])
        if preempted:
            at = 0
    reply = collector.end("r", length if surplus else length + 1)
    collector.settle(LAYOUT, "abc")
    block = unpacked(states(reply[FIELD]["0"]))
    expected = pooled(LAYOUT, "abc", made[: 18 if surplus else 19])
    np.testing.assert_allclose(block.numbers, expected.numbers.astype(np.float16).astype(np.float32))
