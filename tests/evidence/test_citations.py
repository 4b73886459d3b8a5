"""Citations: which numbers an answer names, what it says without them, and which answers are asked to give any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.drivers import Recording, ThreadedDriver
from gate.effects import Flow, Generate, Reply, Retrieve, generate, retrieve, together
from gate.evidence.citations import citing, numbers, places, said, without_markers
from gate.types import Generation, Generations, Message
from tests.scripted import Scripted, always, world_of

ASKED = Generate("small", (Message("user", "Where is Lagos?"),), n=2)


@pytest.mark.parametrize(
    ("text", "bare", "cited"),
    [
        ("Paris [1]", "Paris", (1,)),
        ("Paris[2].", "Paris.", (2,)),
        ("Paris [1][3]", "Paris", (1, 3)),
        ("Paris [3, 1], the capital [3].", "Paris, the capital.", (3, 1)),
        ("[2] Paris", " Paris", (2,)),
        ("Paris", "Paris", ()),
        ("[1]", "[1]", ()),
        (" [4] ", " [4] ", ()),
        ("[1] [2]", "[1] [2]", (1, 2)),
        ('{"cities": [1]}', '{"cities": [1]}', ()),
        ("[1, 2]", "[1, 2]", ()),
        ("Paris [a] [1234] [] [1.5]", "Paris [a] [1234] [] [1.5]", ()),
    ],
)
def test_markers_are_read_and_taken_out(text: str, bare: str, cited: tuple[int, ...]) -> None:
    assert without_markers(text) == bare
    assert numbers(text) == cited


@given(st.text(alphabet="ab [],12\n") | st.text())
def test_taking_markers_out_is_done_once_and_leaves_something(text: str) -> None:
    bare = without_markers(text)
    assert bool(bare.strip()) == bool(text.strip())
    assert all(text[begin] == "[" and text[end - 1] == "]" for begin, end, _ in places(text))


def test_only_answers_that_were_asked_to_cite_lose_them() -> None:
    assert said(Generation("arr[1]")) == "arr[1]"
    assert said(Generation("Paris [1]", cites=True)) == "Paris"


def test_every_answer_of_a_flow_is_marked_side_by_side_or_not() -> None:
    def flow() -> Flow[list[Reply[Generations]]]:
        first = yield from generate(ASKED)
        found = yield from retrieve(Retrieve("world", "Lagos", 1))
        assert found.value
        return [first, *(yield from together([generate(ASKED), generate(ASKED)]))]

    for made, wanted in ((flow(), False), (citing(flow()), True)):
        driver = ThreadedDriver(world_of({"small": Scripted("small", always("Nigeria [1]"))}))
        replies = driver.run(made, Recording())
        driver.close()
        assert {choice.cites for reply in replies for choice in reply.value.choices} == {wanted}
        assert len(replies) == 3
