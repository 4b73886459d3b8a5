"""The draft of a round: found, or said to be lacking."""

from __future__ import annotations

import pytest

from gate.errors import EvidenceUnavailable
from gate.evidence import Draft
from gate.evidence.draft import draft_of
from gate.ports import Evidence
from gate.types import Cost, Generation

SPENT = Cost(calls=2, prompt_tokens=11, completion_tokens=3, seconds=0.5, money=0.01)


def test_the_draft_of_a_round_is_found_or_said_to_be_lacking() -> None:
    draft = Draft(SPENT, Generation("Nigeria"), "small")
    assert draft_of(Evidence().having(draft)) is draft
    with pytest.raises(EvidenceUnavailable, match="no draft"):
        draft_of(Evidence())
