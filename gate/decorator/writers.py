"""Which model wrote the answer that was let through, and saying so in an answer that names its model."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from gate.traces import TapeEntry, TraceRecord
from gate.types import Outcome


def writer_of(outcome: Outcome, trace: TraceRecord) -> str:
    """The model's name, as its server told it; else that of its upstream; "" where nobody wrote it."""
    written = outcome.generation
    asked = [entry for entry in trace.tape if entry.generations is not None]
    own = [entry for entry in asked if any(each is written for each in _choices(entry))]
    own = own or [entry for entry in asked if outcome.upstream and entry.to == outcome.upstream]
    told = [entry.generations.model for entry in own if entry.generations is not None and entry.generations.model]
    return told[-1] if told else outcome.upstream


def signed(answer: Any, model: str) -> Any:
    """The answer with this model in the field in which it names one; as it is where it has none, or ``model`` is ""."""
    if not model:
        return answer
    if isinstance(answer, tuple):
        return tuple(signed(piece, model) for piece in answer)
    if isinstance(answer, dict):
        return {**answer, "model": model} if isinstance(answer.get("model"), str) and "choices" in answer else answer
    if isinstance(answer, BaseModel) and _names_a_model(answer):
        return answer.model_copy(update={"model": model})
    return answer


def _names_a_model(answer: BaseModel) -> bool:
    """As the replies of clients do. Of a caller's own class a field of that name may say anything."""
    named = isinstance(getattr(answer, "model", None), str)
    return named and any(hasattr(answer, name) for name in ("choices", "output", "content"))


def _choices(entry: TapeEntry) -> tuple[Any, ...]:
    return entry.generations.choices if entry.generations is not None else ()
