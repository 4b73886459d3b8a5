"""A decision as HTML, for notebooks: what was decided, how sure, what each signal added, and what it cost.

One piece that needs nothing else: its style is in it and named so that it meets nothing of the page's own, there is no
script, and nothing is loaded. Light or dark as the notebook is, where that can be told, else as the system is. The bars
are the dashboard's.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from gate.dashboard.explained import cut, steps_of
from gate.dashboard.pages import Pages
from gate.log.explain import explanation

if TYPE_CHECKING:
    from gate.decorator.decided import Abstained, Decided

_MOST_REASONS = 8
"""Reasons for missing signals that are listed outright; all of them stand with the signals of each step."""


def decided_html(decided: Decided[Any] | Abstained) -> str:
    """The HTML of one decision. What anybody wrote in it is escaped."""
    outcome, trace = decided.outcome, decided.trace
    steps = steps_of(explanation(trace), trace)
    last = steps[-1] if steps else None
    generation = outcome.generation
    lacking: dict[str, list[str]] = {}
    for signal in last.signals if last else ():
        if signal.missing:
            lacking.setdefault(signal.missing, []).append(signal.name)
    return _pages().html(
        "notebook",
        action=outcome.action.value,
        answered=outcome.answered,
        hedged=outcome.hedged,
        text=cut(outcome.text),
        calls=() if generation is None else generation.tool_calls,
        steps=steps,
        last=last,
        lacking=list(lacking.items())[:_MOST_REASONS],
        sources=[(passage, passage.id in outcome.cited) for passage in outcome.passages],
        void=outcome.void,
        certified=trace.certified,
        policy=trace.policy,
        fingerprint=trace.policy_fingerprint,
        id=trace.id,
        cost=outcome.cost,
        reference=outcome.reference,
    )


@cache
def _pages() -> Pages:
    return Pages()
