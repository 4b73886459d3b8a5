"""What travels, and how it is put together again. Runs where torch and vLLM are installed."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from gate.engine_plugin.collecting import Span
from gate.hidden_states.layout import KEY_TOKENS, Floats

torch = pytest.importorskip("torch")
shipping = pytest.importorskip("gate.engine_plugin.shipping")

STATES, TOLD = 3, 2
SPANS = [
    Span("a", 0, (1, 2), (-1, -1)),
    Span("b", KEY_TOKENS - 1, (3, 4, 5), (-1,)),
    Span("c", KEY_TOKENS + 9, (6,), ()),
]


def shipped(**more: Any) -> Any:
    """Row i of all, first rows first, has states i and, if it is a first one, tells 100 + i."""
    states = np.repeat(np.arange(6.0), STATES)
    told = np.repeat(100 + np.arange(3.0), TOLD)
    return shipping.ReadRows(SPANS, TOLD, "abc", torch.tensor(np.concatenate([states, told])).float(), **more)


def unpacked(read: Any) -> dict[tuple[str, int], Floats]:
    return {(request, start + at): row for request, start, some in read.rows() for at, row in enumerate(some)}


@pytest.mark.parametrize("travel", [lambda x: x, lambda x: pickle.loads(pickle.dumps(x))], ids=["here", "away"])
def test_every_row_comes_to_its_request(travel: Any) -> None:
    read = travel(shipped())
    found = unpacked(read)
    assert {key: row[0] for key, row in found.items()} == {
        ("a", 0): 0,
        ("a", 1): 1,
        ("b", KEY_TOKENS - 1): 2,
        ("b", KEY_TOKENS): 3,
        ("b", KEY_TOKENS + 1): 4,
        ("c", KEY_TOKENS + 9): 5,
    }
    told = {key: row[-1] for key, row in found.items() if not np.isnan(row[STATES:]).any()}
    assert told == {("a", 0): 100, ("a", 1): 101, ("b", KEY_TOKENS - 1): 102}
    assert all(row.shape == (STATES + TOLD,) and row.dtype == np.float32 for row in found.values())
    assert (read.model, read.fault) == ("abc", "")


def test_a_copy_under_way_is_waited_for_before_it_is_read_and_before_it_travels() -> None:
    class Event:
        waited = 0

        def synchronize(self) -> None:
            Event.waited += 1

    list(shipped(arrived=Event()).rows())
    assert Event.waited == 1
    sent = pickle.dumps(shipped(arrived=Event()))
    assert Event.waited == 2
    assert len(unpacked(pickle.loads(sent))) == 6
    assert Event.waited == 2


def test_a_fault_travels_without_rows() -> None:
    read = pickle.loads(pickle.dumps(shipping.ReadRows(SPANS, 0, fault="broken")))
    assert read.fault == "broken"
    assert [request for request, _, _ in read.requests] == ["a", "b", "c"]
    assert list(read.rows()) == []
    assert read


def test_of_all_workers_the_first_one_is_heard() -> None:
    first, silent = shipped(), shipping.ReadRows((), TOLD)
    assert first.aggregate(silent) is first
    assert not silent, "nothing is sent"
