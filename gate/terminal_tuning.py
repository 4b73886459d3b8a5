"""How the results of the offline commands look in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gate.terminal import cost_line

if TYPE_CHECKING:
    from gate.guarantees.label_noise import JudgeError
    from gate.policy import Policy
    from gate.tuning.certification import Tested
    from gate.tuning.chat_logs import ImportReport
    from gate.tuning.collect import CollectReport
    from gate.tuning.collection import Added
    from gate.tuning.compare import Comparison
    from gate.tuning.drift import Watched
    from gate.tuning.estimates import Estimate
    from gate.tuning.evaluate import Evaluation
    from gate.tuning.grade import GradeReport
    from gate.tuning.replay import Replayed
    from gate.tuning.tune import Candidate, Tuned

_LAST = 6
"""Tests shown, beside the chosen one: those that decided come last."""

NOT_AFRESH = {
    "certify": "these questions chose and certified policies; only a test split judges them afresh",
    "fit": "calibrators were fitted on these questions, and thresholds chosen: they flatter",
    "all": "calibrators were fitted on some of these questions, and policies chosen on them: they flatter",
}


def imported(done: ImportReport) -> RenderableType:
    """What became of the rows of a log."""
    lines = [
        f"{done.written} questions of {done.rows} rows; {done.duplicates} rows ask what another asks",
        f"{done.with_references} have reference answers",
    ]
    for tallies, what in ((done.unusable, "left out"), (done.unread_labels, "label not read")):
        for reason, tally in tallies.items():
            more = " …" if tally.count > len(tally.first) else ""
            lines.append(f"{what}: {tally.count} rows ({', '.join(map(str, tally.first))}{more}): {reason}")
    return Text("\n".join(lines))


def collected(done: CollectReport, added: Added) -> RenderableType:
    """How far collecting has come."""
    lines = [Text(f"{done.finished} of {done.questions} questions have full evidence; it cost {cost_line(done.spent)}")]
    if added.repeated:
        lines.insert(0, Text(f"{added.repeated} questions are the same as another, and are asked once"))
    if done.failed:
        lines.append(Text(f"requests of {done.failed} failed: run again to try again", style="yellow"))
    if done.stopped:
        lines.append(Text(f"stopped: {done.stopped}", style="yellow"))
    return Group(*lines)


def graded(done: GradeReport, judge: JudgeError, changed: int | None) -> RenderableType:
    """How the answers are labelled."""
    lines = [
        f"{done.answers} answers: {done.right} right, {done.wrong} wrong, {done.open} open",
        f"labelled by people: {done.by_people}",
    ]
    if changed is not None:
        lines.append(f"{changed} labels of the file say otherwise than those that were there")
    if judge.wrong or judge.right:
        lines.append(
            f"the grader against people: accepts {judge.wrong_accepted} of {judge.wrong} wrong answers, rejects "
            f"{judge.right_rejected} of {judge.right} right ones"
        )
    if done.cost.calls:
        lines.append(f"judging cost {cost_line(done.cost)}")
    if done.open:
        lines.append("what is open: label it by hand (--export, then --labels), or let a model judge (--grader model)")
    if done.failed:
        lines.append(f"{done.failed} answers could not be judged, the first because {done.why}")
    return Text("\n".join(lines))


# --- tune --------------------------------------------------------------------------------------------------------


def tuned(done: Tuned, policy: Policy, labels: str, target: Path) -> RenderableType:
    """The tests that decided, and what came of them."""
    table = Table("", "evidence", "answered", "wrong", "at most", "$ a question", box=SIMPLE, title_justify="left")
    for place, test in enumerate(done.tests, 1):
        if test is done.chosen or place > len(done.tests) - _LAST:
            table.add_row(*_tested(test, test is done.chosen))
    promise = policy.promise
    shown = f", the last {table.row_count} shown" if len(done.tests) > table.row_count else ""
    lines: list[RenderableType] = [
        Text(f"fitted on {done.fitted_on} questions; policies tested, from safe to bold: {len(done.tests)}{shown}"),
        table,
        Text(f"labels: {labels}", style="dim"),
    ]
    if done.left_out:
        lines.append(Text(f"left out: {done.left_out}", style="yellow"))
    if done.policy is None or done.chosen is None:
        bound = f"the best bound is {done.best_bound:.2%} wrong" if done.tests else "no policy answers anything"
        said = f"no policy keeps this promise (at most {promise.max_error:.2%} wrong): {bound}"
        lines.append(Text(f"{said}. Nothing was written.", style="yellow"))
    else:
        shape = done.chosen.candidate.option.structure
        ways = f", trying first to {', then to '.join(shape.otherwise)}" if shape.otherwise else ""
        lines.append(Text(f"chosen: {' → '.join(shape.ladder)}{ways}"))
        lines.append(Text(f"certified, and written to {target}", style="green"))
    return Group(*lines)


def _tested(test: Tested[Candidate], chosen: bool) -> Iterator[Text]:
    done = test.counted
    style = "bold green" if chosen else "" if test.passed else "red"
    for cell in (
        "→" if chosen else "" if test.passed else "✗",
        test.candidate.variant,
        f"{done.answered} of {done.asked}",
        f"{done.wrong}{f', {done.unknown} of them not known' if done.unknown else ''}",
        f"{test.bound:.2%}",
        f"{done.money:.3g}",
    ):
        yield Text(cell, style=style)


# --- eval, replay ------------------------------------------------------------------------------------------------


def evaluations(found: Mapping[str, Evaluation], split: str) -> RenderableType:
    """Policies side by side."""
    table = _side_by_side(found, f"{split} split" if split != "all" else "all questions")
    notes = [Text(f"{name}: {note}", style="dim") for name, each in found.items() for note in each.notes]
    if split in NOT_AFRESH:
        notes.append(Text(f"{split}: {NOT_AFRESH[split]}", style="yellow"))
    return Group(table, *notes)


def _side_by_side(found: Mapping[str, Evaluation], title: str) -> Table:
    table = Table("", *map(escape, found), box=SIMPLE, title=title, title_justify="left")
    for name, cells in _measures(list(found.values())):
        if any(cell != "-" for cell in cells):  # without labels most cannot be told
            table.add_row(name, *cells)
    return table


def _measures(found: Sequence[Evaluation]) -> Iterator[tuple[str, list[str]]]:
    yield "questions (labelled)", [f"{each.n} ({each.labelled})" for each in found]
    yield "coverage", [_share(each.coverage) for each in found]
    yield "wrong among answers", [_share(each.risk) for each in found]
    yield "  at most", ["-" if each.bound is None else f"{each.bound:.2%}" for each in found]
    yield "accuracy without gate", [_share(each.without_gate) for each in found]
    yield "answered and right", [_share(each.right_of_all) for each in found]
    yield "AUROC", [_number(each.auroc) for each in found]
    yield "AURC", [_number(each.aurc) for each in found]
    yield "ECE", [_number(each.ece) for each in found]
    yield "Brier", [_number(each.brier) for each in found]
    for place, row in enumerate(found[0].costs):
        cells = [each.costs[place] for each in found]
        yield f"{row.kind} a question (p95)", [f"{_plain(c.mean)} ({_plain(c.p95)})" for c in cells]


def comparisons(pairs: Sequence[Comparison]) -> RenderableType:
    """Paired differences."""
    table = Table("second less first", "coverage", "wrong", "$", "right only in one", "p", box=SIMPLE)
    for pair in pairs:
        table.add_row(
            escape(f"{pair.second} - {pair.first}"),
            _share(pair.coverage),
            _share(pair.risk),
            _number(dict(pair.costs)["money"]),
            f"{pair.only_second} / {pair.only_first}",
            f"{pair.p_value:.3g}",
        )
    return table


def replayed(done: Replayed, found: Evaluation, watched: Watched | None) -> RenderableType:
    """What a policy makes of a log, and whether what went out kept the promise."""
    gaps = sum(done.gaps.values())
    then = ", ".join(f"{count} {action}" for action, count in sorted(done.recorded.items()))
    now = ", ".join(f"{each.count} {each.action}" for each in found.actions)
    lines: list[RenderableType] = [
        Text(f"{len(done.judgements)} decisions judged, {done.changed} end otherwise; {gaps} cannot be judged"),
        *(Text(f"  {count}: {reason}", style="dim") for reason, count in done.gaps.items()),
        Text(f"then: {then}\nnow:  {now}"),
        _side_by_side({"": found}, "of the decisions judged"),
        *(Text(note, style="dim") for note in found.notes),
    ]
    if done.strangers:
        lines.append(Text(f"{done.strangers} labels are of decisions that are not in this log", style="yellow"))
    if watched:
        held = watched.monitor
        between = "" if held.interval is None else f", between {held.interval[0]:.2%} and {held.interval[1]:.2%}"
        risk = "" if held.risk is None else f": {held.risk:.2%} wrong{between}"
        said = f"ALARM at {watched.alarm_at}: the promise is broken" if held.alarm else "no alarm"
        lines.append(
            Text(f"what went out, {held.audited} answers audited{risk}; {said}", style="red" if held.alarm else "")
        )
    return Group(*lines)


def _share(estimate: Estimate) -> str:
    if estimate.value is None:
        return "-"
    between = "" if estimate.low is None or estimate.high is None else f" [{estimate.low:.2%}, {estimate.high:.2%}]"
    return f"{estimate.value:.2%}{between}"


def _number(estimate: Estimate) -> str:
    if estimate.value is None:
        return "-"
    between = "" if estimate.low is None or estimate.high is None else f" [{estimate.low:.3g}, {estimate.high:.3g}]"
    return f"{estimate.value:.3g}{between}"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
