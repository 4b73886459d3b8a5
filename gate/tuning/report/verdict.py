"""What a report says first: is the promise kept, in words, and on what grounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gate.tuning.report.contents import Report
from gate.tuning.report.markup import joined, theirs
from gate.tuning.report.wording import at_most, count, counted, interval, percent, promised


@dataclass(frozen=True, slots=True)
class Verdict:
    status: Literal["kept", "broken", "open"]
    headline: str
    grounds: tuple[str, ...]
    """Sentences, of which some are HTML already."""


def verdict(report: Report) -> Verdict:
    """The promise is broken where the questions shown here disprove it, whatever the certificate says of others.

    It is kept where a certificate backs it that holds for what runs, and these questions do not speak against it.
    Everything else is open.
    """
    status, headline = _headline(report)
    return Verdict(status, headline, tuple(_grounds(report)))


def _headline(report: Report) -> tuple[Literal["kept", "broken", "open"], str]:
    found, most = report.evaluation, report.promise.max_error
    if found.risk.low is not None and found.risk.low > most:
        return "broken", "The promise is not kept"
    held = report.certificate
    if held is None:
        if found.risk.value is None:
            return "open", "Nothing shows yet whether the promise is kept"
        if found.bound is not None and found.bound <= most:
            return "open", "The promise is kept on these questions, but no certificate backs it"
        return "open", "The promise is not shown to be kept"
    if report.void:
        return "open", "The certificate does not hold for what runs"
    if held.bound > most or held.delta > 1 - report.promise.confidence + 1e-12:
        return "open", "The certificate does not back the promise"
    if found.risk.value is not None and found.risk.value > most:
        return "open", "A certificate backs the promise, but these questions cast doubt on it"
    return "kept", "The promise is kept"


def _grounds(report: Report) -> Iterator[str]:
    promise, found, held = report.promise, report.evaluation, report.certificate
    yield (
        f"The promise: of the answers let through, at most {promised(promise.max_error)} are wrong, "
        f"with {promised(promise.confidence)} confidence."
    )
    if held is not None:
        yield (
            f"Certificate: of {counted(held.answered, 'answer')} let through in the held-out questions, "
            f"{_were_wrong(held.errors)}. So at most {at_most(held.alpha)} are wrong, with "
            f"{promised(1 - held.delta)} confidence."
        )
    for reason in report.void if held else ():
        yield joined(("The certificate is void: ", theirs(reason), "."))
    yield from _these(report)
    if found.without_gate.value is not None:
        yield (
            f"Without gate, {percent(1 - found.without_gate.value)} of all first drafts would have been wrong. "
            f"With it, {percent(found.coverage.value)} of the questions get an answer."
        )


def _these(report: Report) -> Iterator[str]:
    """What the questions of this evaluation say."""
    found, most = report.evaluation, report.promise.max_error
    if found.risk.value is None:
        yield (
            "In these questions there is no labelled answer that was let through, so they say nothing of the error."
            if found.answered
            else f"In these {counted(found.n, 'question')} nothing was let through."
        )
        return
    share = percent(found.risk.value) + (" when weighted" if found.weighted else "")
    yield (
        f"In these questions: of {counted(found.answered_labelled, 'labelled answer')} let through, "
        f"{_were_wrong(found.wrong)} ({share}; {promised(found.confidence)} interval {interval(found.risk)}; "
        f"one-sided limit {at_most(found.bound)})."
    )
    if found.risk.low is not None and found.risk.low > most:
        yield f"That is more than {promised(most)}, and more than chance explains."
    elif found.risk.value > most:
        yield f"That is more than {promised(most)}, though chance may explain it."
    elif report.certificate is None and found.bound is not None and found.bound > most:
        yield f"That is too few answers to show at most {promised(most)}: label more questions."


def _were_wrong(errors: int) -> str:
    return "none was wrong" if errors == 0 else f"{count(errors)} {'was' if errors == 1 else 'were'} wrong"
