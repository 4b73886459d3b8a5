"""What the log keeps of a decision: a row of numbers and reasons, and the trace as JSON, as far as the level allows.

``scalars``: no text of the user, of models or of passages. ``hashed``: beside it a keyed hash of the question, by which
equal questions are found. ``text``: question, answer and every reply; but no embeddings and nothing that was read
inside a model, because text can be told from them (Morris et al. 2023, vec2text).

It runs for every request on the interpreter that serves them, so it is written for speed: orjson takes the records as
they are, and what only the standard library's JSON holds (half surrogate pairs, infinities) goes the slow way.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b
from typing import Any, Literal

import orjson

from gate.log.entries import Entry
from gate.log.jsonl import to_json, without_states, without_text
from gate.traces import TapeEntry, TraceRecord
from gate.types import Budget, Decision, Generation, Outcome, Passage, Step

Keep = Literal["scalars", "hashed", "text"]
Row = tuple[tuple[Any, ...], str]
"""The values of `gate.log.tables.KEPT`, and the trace as JSON."""
_LARGEST = 2**63 - 1
_SENT = Generation("")
"""Stands for a draft that went out, of which only that is kept."""
_REQUEST_ID, _ERROR = 200, 2000
"""Characters that are kept of what others may make as long as they like."""


class RowMaker:
    """Makes the rows of entries. ``secret`` is the key of the hashes, of at most 64 bytes."""

    def __init__(self, keep: Keep, secret: bytes) -> None:
        self._keep = keep
        self._secret = secret

    def __call__(self, entry: Entry) -> Row:
        """Raises TypeError, ValueError or AttributeError for what is no entry."""
        record = entry.record
        kept = record if self._keep == "text" else _bare(record)
        if self._keep == "text":
            kept = _without_vectors(without_states(record))
        sound = math.isfinite(_sum(kept))
        row = self._row(entry, record)
        if not sound:
            row = tuple(map(_finite, row, _FALL_BACK))
        return row, _json(kept) if sound else to_json(kept).decode()

    def lean(self, entry: Entry) -> Entry:
        """The entry with no more than a row is made of: where no text is kept, it need not wait in memory either."""
        if self._keep != "scalars":
            return entry
        sent = entry.sent and _SENT
        return dataclasses.replace(entry, record=_bare(entry.record), sent=sent)

    def _row(self, entry: Entry, record: TraceRecord) -> tuple[Any, ...]:
        cost = record.cost
        decision = record.steps[-1].decision if record.steps else None
        tried = decision if entry.sent is None else _of_first(record)
        confidence = tried.confidence if tried else None
        hashed, question, answer = self._texts(entry, record)
        return (
            clean(record.id),
            _seconds(record.started),
            entry.door,
            clean(entry.key),
            clean(entry.request_id[:_REQUEST_ID]),
            clean(record.policy),
            clean(record.policy_fingerprint),
            record.certified,
            entry.mode,
            record.action.value if record.action else "",
            clean(decision.reason) if decision else "",
            clean(decision.stage.key) if decision else "",
            confidence.p if confidence else None,
            tried.threshold if tried else None,
            min(cost.calls, _LARGEST),
            min(cost.prompt_tokens, _LARGEST),
            min(cost.completion_tokens, _LARGEST),
            cost.money,
            entry.seconds,
            entry.status,
            clean(record.error[:_ERROR]) if record.error else "",
            entry.streamed,
            entry.retracted,
            entry.audit,
            entry.full_evidence,
            hashed,
            question,
            answer,
            tried is not decision,
        )

    def _texts(self, entry: Entry, record: TraceRecord) -> tuple[str, str, str]:
        """The question's hash, the question and the answer: what of them is kept."""
        if self._keep == "scalars":
            return "", "", ""
        question = record.question.text if record.question else ""
        hashed = question_hash(self._secret, question) if record.question else ""
        if self._keep == "hashed":
            return hashed, "", ""
        answer = drafted(record.outcome) if entry.sent is None else _words(entry.sent)
        return hashed, clean(question), clean(answer)


def question_hash(secret: bytes, question: str) -> str:
    """The same for equal questions of one log; without its secret, which the database keeps, nobody can."""
    return blake2b(question.encode("utf-8", "surrogatepass"), key=secret, digest_size=16).hexdigest()


def drafted(outcome: Outcome | None) -> str:
    """What the model had drafted in the end, sent or not; of calls of tools, their names and arguments."""
    said = (outcome.generation or outcome.withheld) if outcome else None
    return "" if said is None else _words(said)


def _words(said: Generation) -> str:
    return said.text or said.refusal or "\n".join(f"{call.name}({call.arguments})" for call in said.tool_calls)


def _of_first(record: TraceRecord) -> Decision | None:
    """The last decision about the first draft. Where it is about another answer of the same round, there is none."""
    decisions = [step.decision for step in record.steps]
    mine = (each for each in reversed(decisions) if each.stage.round_key == decisions[0].stage.round_key)
    return next((each for each in mine if not each.stage.memory), None)


def clean(text: str) -> str:
    """The text as both databases can hold it."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _bare(record: TraceRecord) -> TraceRecord:
    return without_text(record) if record.question or record.tape or record.outcome else record


def _without_vectors(record: TraceRecord) -> TraceRecord:
    """A replay that needs embeddings then says that it cannot tell."""
    if all(entry.vectors is None for entry in record.tape):
        return record
    return dataclasses.replace(record, tape=tuple(entry for entry in record.tape if entry.vectors is None))


def _json(record: TraceRecord) -> str:
    try:
        return orjson.dumps(record).decode()
    except TypeError:  # half surrogate pairs, numbers beyond 64 bits, mappings that are no dict
        return to_json(record).decode()


def _seconds(started: str) -> float:
    try:
        return datetime.fromisoformat(started).timestamp()
    except ValueError:
        return time.time()


# --- is every number finite: orjson would write null for it, which is no number when it is read again ----------------


def _sum(record: TraceRecord) -> float:
    """Not finite where any number of the record is not."""
    total = record.cost.seconds + record.cost.money + _of_steps(record.steps) + _of_budget(record.budget)
    if record.tape or record.outcome:
        total += sum(map(_of_reply, record.tape)) + _of_outcome(record.outcome)
    return total


def _of_steps(steps: tuple[Step, ...]) -> float:
    total = 0.0
    for step in steps:
        decision = step.decision
        total += step.cost.seconds + step.cost.money + (decision.threshold or 0.0)
        confidence = decision.confidence
        if confidence is not None:
            total += confidence.p + confidence.low + confidence.high + confidence.base
            for part in confidence.contributions:
                total += part.log_odds
            for prospect in confidence.prospects:
                total += prospect.p + prospect.cost
        for reading in step.signals.readings:
            total += reading.value or 0.0
    return total


def _of_budget(budget: Budget) -> float:
    return (budget.seconds or 0.0) + (budget.money or 0.0)


def _of_outcome(outcome: Outcome | None) -> float:
    if outcome is None:
        return 0.0
    said = _of_answers(answer for answer in (outcome.generation, outcome.withheld) if answer)
    return said + outcome.cost.seconds + outcome.cost.money + _of_passages(outcome.passages)


def _of_reply(entry: TapeEntry) -> float:
    total = entry.cost.seconds + entry.cost.money + entry.began
    if entry.generations:
        total += _of_answers(entry.generations.choices)
    if entry.entailments:
        total += sum(each.entailment + each.neutral + each.contradiction for each in entry.entailments.verdicts)
    return total + _of_passages(entry.passages or ())


def _of_answers(answers: Iterable[Generation]) -> float:
    total = 0.0
    for answer in answers:
        for token in answer.tokens or ():
            total += token.logprob
            for _, logprob in token.top:
                total += logprob
    return total


def _of_passages(passages: tuple[Passage, ...]) -> float:
    return sum(passage.score for passage in passages)


_FALL_BACK = (*(None,) * 17, 0.0, 0.0, *(None,) * 10)
"""What stands for a number that is none: nothing, but 0 for money and seconds."""


def _finite(value: Any, fall_back: float | None) -> Any:
    return fall_back if isinstance(value, float) and not math.isfinite(value) else value
