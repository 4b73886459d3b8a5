"""Drafts that are JSON."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from gate.evidence import Draft, Samples
from gate.ports import Fact
from gate.types import Cost, Generation
from tests.signals.scenes.core import GENERATIONS, TEXTS

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXTS, below, max_size=3),
    max_leaves=8,
)
WRITTEN = VALUES.map(json.dumps) | st.sampled_from(["{}", "[]", "{", "", "```json\n{}\n```", "[" * 3000])
ANSWERS = st.builds(Generation, WRITTEN)


@st.composite
def facts(draw: st.DrawFn) -> tuple[Fact, ...]:
    samples = draw(st.lists(ANSWERS | GENERATIONS, max_size=5).map(tuple))
    return Draft(Cost(), draw(ANSWERS), "small"), Samples(Cost(), samples)


def scene(draft: str, *samples: str) -> tuple[Fact, ...]:
    return Draft(Cost(), Generation(draft), "small"), Samples(Cost(), tuple(Generation(text) for text in samples))


def sure() -> tuple[Fact, ...]:
    return scene('{"city": "Lagos", "country": "Nigeria"}', '{"country": "nigeria", "city": "Lagos"}')


def unsure() -> tuple[Fact, ...]:
    return scene('{"city": "Lagos", "country": "Nigeria"}', '{"city": "Lagos", "country": "Peru"}', "no idea")
