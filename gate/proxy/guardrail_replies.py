"""What a LiteLLM proxy is told of an answer: ``NONE`` (it goes out), ``GUARDRAIL_INTERVENED`` (these texts go out in
its place) or ``BLOCKED`` (nothing does).

LiteLLM lets out whatever it is not told to block, also on an action it does not know. So there is no way to a reply
without one of these three, and whatever cannot be said in it is blocked. Of a stream it passes over texts in the place
of others, and what was written goes out, unless it is set to heed them; nobody says whether an answer is streamed. So
nothing is put in a place where that is not asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gate.proxy.guardrail_requests import OnAbstention
from gate.proxy.request_fields import ChatRequest
from gate.proxy.spoken import RefusalIn
from gate.proxy.verdicts import Decided, told
from gate.types import Generation, Outcome

NONE: dict[str, Any] = {"action": "NONE"}
_ANOTHER = "Another answer is more likely right than the model's, and cannot be put in its place here."


def blocked(reason: str) -> dict[str, Any]:
    return {"action": "BLOCKED", "blocked_reason": reason}


def verdict(request: ChatRequest, decided: Sequence[Decided], refusal_in: RefusalIn = "refusal") -> dict[str, Any]:
    """Of the answers a request has brought. Where one of them may not go out and nothing can stand in its place, none
    goes out: LiteLLM knows no other way."""
    brought = request.brought
    drafts = () if brought is None else tuple(given.draft for given in brought.answers)
    how: OnAbstention = "block" if brought is None else brought.on_abstention
    said = [_said(draft, outcome, how) for draft, (outcome, _) in zip(drafts, decided, strict=True)]
    gate = told(decided, explain=request.explain)
    beside: dict[str, Any] = {} if gate is None else {"gate": gate}
    if brought is None or None in said:
        at = said.index(None) if None in said else 0
        return {**blocked(_reason(decided[at][0])), **beside}
    texts = [text for text in said[: brought.texts] if text is not None]
    # a stream is shown piece by piece and nobody says which is the last: until it is, LiteLLM is to hold all of it back
    beside["stream_holdback_chars"] = [len(text) for text in texts]
    if texts == [draft.text for draft in drafts[: brought.texts]]:
        return {**NONE, **beside}
    return {"action": "GUARDRAIL_INTERVENED", "texts": texts, **beside}


def _said(draft: Generation, outcome: Outcome, how: OnAbstention) -> str | None:
    """What goes out in the place of a draft, which may be itself; None where nothing can. Texts can be put in the place
    of others; a call of a tool can only be let through or blocked."""
    calls = () if outcome.generation is None else outcome.generation.tool_calls
    if outcome.answered and (outcome.text, calls) == (draft.text, draft.tool_calls):
        return draft.text
    return outcome.text if how == "replace" and not (calls or draft.tool_calls) else None


def _reason(outcome: Outcome) -> str:
    """In words for whoever asked."""
    return _ANOTHER if outcome.answered else outcome.text
