"""What a reference pool says of a question."""

from __future__ import annotations

from hypothesis import strategies as st

from gate.evidence import Neighbours
from gate.ports import Fact
from gate.types import Cost

SHARES = st.floats(0, 1)
ODDS = st.floats(-20, 20) | st.sampled_from([0.0, -1e6, 1e6])


@st.composite
def facts(draw: st.DrawFn) -> tuple[Fact, ...]:
    k = draw(st.integers(1, 12))
    return (
        Neighbours(
            Cost(),
            distances=tuple(draw(st.lists(st.floats(0, 2), min_size=k, max_size=k))),
            correct=tuple(draw(st.lists(SHARES, min_size=k, max_size=k))),
            base_rate=draw(SHARES),
            cluster_accuracy=draw(SHARES),
            similarity=draw(st.integers(0, 100)),
            closeness=draw(SHARES),
            class_closeness=draw(SHARES),
            skill=draw(ODDS),
            text=draw(st.none() | ODDS),
            shared=draw(st.none() | st.lists(st.booleans(), min_size=k, max_size=k).map(tuple)),
        ),
    )


def sure() -> tuple[Fact, ...]:
    return (Neighbours(Cost(), (0.3, 0.5, 0.9), (1.0, 1.0, 0.0), 0.6, 0.8, 2, 0.9, 0.8, 1.5, 2.0, (True, True, False)),)


def unsure() -> tuple[Fact, ...]:
    return (
        Neighbours(Cost(), (0.9, 1.1, 1.2), (0.0, 0.0, 1.0), 0.6, 0.3, 3, 0.1, 0.1, -1.0, -1.5, (False, True, False)),
    )
