"""What the tests of the doors ask and what comes of it: chat bodies, answers, and JSON of any kind."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import strategies as st

from gate.proxy.chat_requests import parse_chat_request
from gate.proxy.verdicts import Decided
from gate.types import Action, Generation, Outcome, Passage
from tests.proxy.fake_gateway import FakeGateway, outcome_of

USER = {"role": "user", "content": "Where is Lagos?"}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


LATE = {
    "action": "answer", "reason": "confident", "confidence": {"p": 0.9123}, "id": "feed", "certificate": "none",
}  # fmt: skip
"""The verdict of a stream whose headers could not tell it."""


def body(**fields: object) -> bytes:
    return json.dumps({"model": "gate", "messages": [USER], **fields}).encode()


def decided(*outcomes: Outcome) -> list[Decided]:
    """Each with its trace: ``feed``, and further ones by number."""
    question = parse_chat_request(body()).question
    records = [FakeGateway()._record(question, outcome, None) for outcome in outcomes]
    return [
        (outcome, replace(record, id=f"feed{place or ''}"))
        for place, (outcome, record) in enumerate(zip(outcomes, records, strict=True))
    ]


def saying(generation: Generation | None) -> list[Decided]:
    return decided(outcome_of(generation))


def ended(action: Action, reason: str, **more: object) -> Outcome:
    plain = outcome_of(None, "Which Lagos?")
    decision = replace(plain.decision, action=action, reason=reason)
    step = replace(plain.steps[-1], decision=decision)
    return replace(plain, action=action, steps=(step,), **more)  # type: ignore[arg-type]


ENDED = {
    "asked back": (ended(Action.CLARIFY, "ambiguous"), "content", {"action": "clarify", "reason": "ambiguous"}),
    "hedged": (
        ended(Action.ABSTAIN, "uncertain", hedged=True),
        "content",
        {"action": "abstain", "reason": "uncertain", "hedged": True},
    ),
    "refused": (ended(Action.ABSTAIN, "no_passages"), "refusal", {"action": "abstain", "reason": "no_passages"}),
    "handed over": (
        ended(Action.ABSTAIN, "uncertain", reference="case-7", passages=(Passage("a", "Lagos."),)),
        "refusal",
        {"action": "abstain", "reason": "uncertain", "reference": "case-7", "found": ["a"]},
    ),
}
