"""How outcomes, traces and policies look in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import orjson
import typer
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gate.errors import ConfigError, GateError, RequestError, UpstreamError
from gate.ports import Price
from gate.proxy.json_wire import dumps
from gate.rules import ExpectedCostRule, Thresholds
from gate.serving_settings import ServingSettings
from gate.traces import TraceRecord
from gate.types import Action, Confidence, Cost, Outcome, Step

if TYPE_CHECKING:
    from gate.gateway import Gateway

_BAR = 12
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Write over what stands there.")]
TrustJudgeOption = Annotated[
    bool, typer.Option("--trust-judge", help="Take a model's labels for the truth, its errors uncounted.")
]
PolicyOption = Annotated[str, typer.Option("--policy", "-p", help="A shipped policy's name, or a policy file.")]
RunOnOption = Annotated[str, typer.Option("--on", help="local, ray (the cluster of this machine) or host:6379.")]
PartsOption = Annotated[
    Path | None, typer.Option("--parts", help="A folder for finished parts; of a cluster, one that all its nodes see.")
]
P = ParamSpec("P")
out, err = Console(), Console(stderr=True)
STYLE = {Action.ANSWER: "green", Action.CLARIFY: "cyan", Action.ABSTAIN: "yellow"}


def outcome_panel(outcome: Outcome) -> RenderableType:
    """The answer or the refusal, how sure, why, and what it cost."""
    said = Text(outcome.text, style=STYLE.get(outcome.action, ""))
    parts: list[RenderableType] = [said, Text(), Text(_verdict(outcome.steps[-1]))]
    if outcome.confidence and outcome.confidence.contributions:
        parts.append(contributions_table(outcome.confidence))
    if outcome.passages:
        parts.append(sources_table(outcome))
    if outcome.reference:
        parts.append(Text(f"with a person: {outcome.reference}", style="dim"))
    parts.append(Text(f"way: {way(outcome.steps)}", style="dim"))
    parts.append(Text(f"cost: {cost_line(outcome.cost)}", style="dim"))
    return Panel(Group(*parts), title=_title(outcome), title_align="left", expand=False)


def _title(outcome: Outcome) -> str:
    return f"{outcome.action.value}, unsure answer shown" if outcome.hedged else outcome.action.value


def _verdict(step: Step) -> str:
    decision, confidence = step.decision, step.decision.confidence
    if confidence is None:
        return f"{decision.reason}: {decision.detail}" if decision.detail else decision.reason
    held = "" if decision.threshold is None else f", answers at {decision.threshold:.3f}"
    marked = "" if confidence.calibrated else ", uncalibrated"
    sure = f"p(right) = {confidence.p:.3f} [{confidence.low:.3f}, {confidence.high:.3f}]{held}{marked}"
    return f"{sure}  ({decision.reason}{': ' + decision.detail if decision.detail else ''})"


def contributions_table(confidence: Confidence) -> Table:
    """What each signal added to the log-odds of being right."""
    table = Table("signal", "adds", "", box=None, pad_edge=False, header_style="dim")
    largest = max((abs(c.log_odds) for c in confidence.contributions), default=0.0) or 1.0
    table.add_row("(base)", f"{confidence.base:+.2f}")
    for part in confidence.contributions:
        bar = "█" * round(_BAR * abs(part.log_odds) / largest)
        table.add_row(part.signal, f"{part.log_odds:+.2f}", Text(bar, style="green" if part.log_odds >= 0 else "red"))
    return table


def sources_table(outcome: Outcome) -> Table:
    """The passages behind an answer; a star marks those that bear it."""
    table = Table("", "source", box=None, pad_edge=False, header_style="dim")
    for number, passage in enumerate(outcome.passages, 1):
        at = "" if passage.start is None else f" at {passage.start}"
        place = f"{passage.source}{at}" if passage.source else ""
        named = ", ".join(filter(None, (passage.title, place))) or passage.id
        star = "*" if passage.id in outcome.cited else " "
        table.add_row(Text(f"[{number}]{star}"), Text(named))
    return table


def way(steps: Iterable[Step]) -> str:
    """The stages a question went through: ``small/closed_book/tier0 → retrieve → …``."""
    return " → ".join(f"{step.decision.stage.key} {step.decision.action.value}" for step in steps)


def cost_line(cost: Cost) -> str:
    money = f", ${cost.money:.6f}" if cost.money else ""
    tokens = f"{cost.prompt_tokens} + {cost.completion_tokens} tokens"
    return f"{cost.calls} calls, {tokens}, {cost.seconds * 1000:.0f} ms{money}"


def trace_view(record: TraceRecord) -> RenderableType:
    """One recorded question, step by step."""
    parts: list[RenderableType] = [
        Text(f"{record.id}  {record.started}  policy {record.policy}@{record.policy_fingerprint}"),
        Text("certified" if record.certified else "not certified", style="dim"),
    ]
    if record.question:
        parts.append(Text(f"asked: {record.question.text}"))
    for number, step in enumerate(record.steps, 1):
        parts += [Text(f"\n{number}. {step.decision.stage.key} → {step.decision.action.value}", style="bold")]
        parts += [
            Text(f"   {_verdict(step)}"),
            signals_table(step),
            *(Text(f"   voids a certificate: {reason}") for reason in step.void),
            Text(f"   cost: {cost_line(step.cost)}", style="dim"),
        ]
    if record.outcome:
        parts.append(Text(f"\nsaid: {record.outcome.text}"))
    if record.error:
        parts.append(Text(f"\nended in an error: {record.error}", style="red"))
    parts.append(Text(f"total: {cost_line(record.cost)}", style="dim"))
    return Group(*parts)


def signals_table(step: Step) -> Table:
    added = {c.signal: c.log_odds for c in step.decision.confidence.contributions} if step.decision.confidence else {}
    table = Table("   signal", "value", "adds", box=None, header_style="dim")
    for reading in step.signals.readings:
        value = f"{reading.value:.4f}" if reading.value is not None else f"missing: {reading.missing}"
        table.add_row(f"   {reading.signal}", escape(value), f"{added[reading.signal]:+.2f}" if added else "")
    return table


def policy_view(gateway: Gateway) -> RenderableType:
    """What a policy does, read aloud."""
    policy = gateway.policy
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("policy", f"{policy.name}@{policy.fingerprint}  {escape(policy.summary)}")
    promise = policy.promise
    table.add_row(
        "promise", f"at most {promise.max_error:.0%} wrong among answers, with {promise.confidence:.0%} confidence"
    )
    table.add_row("certificate", escape(certificate_line(gateway)))
    table.add_row("ladder", " → ".join(f"{n} ({policy.upstreams[n].kind})" for n in policy.ladder))
    table.add_row("evidence", " | ".join(", ".join(tier) for tier in policy.tiers))
    table.add_row("signals", ", ".join(policy.signals))
    table.add_row("calibrator", f"{policy.calibrator}@{gateway.plan.calibrator.fingerprint}")
    apart = "".join(f"; {key} at {threshold}" for key, threshold in policy.rule.answer_at_in.items())
    closed_book = "" if policy.rule.closed_book_at is None else f"; closed book at {policy.rule.closed_book_at}"
    table.add_row("answers at", f"{_answers_at(policy.rule)}{closed_book}{apart}")
    table.add_row("otherwise", _otherwise(gateway))
    if free := [name for name in policy.ladder if gateway.plan.prices[name] == Price()]:
        table.add_row("prices", f"none for {', '.join(free)}: what they charge counts as nothing")
    ways = [action.value for action in gateway.plan.routes]
    table.add_row("routes", ", ".join(ways))
    limits = policy.budget.model_dump(exclude_none=True)
    table.add_row("budget", ", ".join(f"{limit} {kind}" for kind, limit in limits.items()) or "none")
    table.add_row("served", _served(policy.serving))
    return table


def _served(serving: ServingSettings) -> str:
    """Whether the policy is enforced, and when a streaming client sees what."""
    streamed = "streamed once it is judged"
    if serving.streaming == "annotate":
        streamed = "streamed at once, with the verdict at the end"
    if serving.streaming == "prefix" and (prefix := serving.prefix):
        streamed = f"streamed from p >= {prefix.release_at:.4g} on, and stopped below {prefix.stop_below:.4g}"
    if serving.mode == "enforce":
        return f"enforced; {streamed}"
    shared = f"; enforced on {serving.enforced_share:.3g} of the requests, {streamed}" if serving.enforced_share else ""
    return f"observed: first drafts go out, and what gate would do is recorded{shared}"


def _answers_at(rule: Thresholds) -> str:
    return f"p >= {rule.answer_at if rule.everywhere is None else rule.everywhere:.4g}"


def _otherwise(gateway: Gateway) -> str:
    """What is done below the threshold."""
    rule, order = gateway.policy.rule, ", then ".join(gateway.policy.rule.otherwise) or "abstain"
    if not isinstance(rule, ExpectedCostRule):
        return order
    prices = f"a mistake at ${rule.wrong:.3g}, an abstention at ${rule.abstain:.3g}"
    if getattr(gateway.plan.calibrator, "ways", None) is None:
        return f"{order}: nothing was learned that costs less ({prices})"
    return f"what is expected to cost least ({prices})"


def certificate_line(gateway: Gateway, outcome: Outcome | None = None) -> str:
    """Whether the promise holds: of the policy, or of one ``outcome`` whose evidence may have voided it."""
    held = gateway.certificate
    if held is None:
        return "none: no promise is kept until the policy is tuned and certified"
    if void := (*gateway.void, *(outcome.void if outcome else ())):
        return "void: " + "; ".join(void)
    on = ", ".join(filter(None, (f"{held.n} asked", held.segment, held.date)))
    return (
        f"{held.errors} wrong of {held.answered} answered ({on}): "
        f"at most {held.alpha:.2%} wrong with {1 - held.delta:.0%} confidence"
    )


def complain(console: Console, message: str) -> None:
    """One line, however long: what reads it may be a program."""
    console.print(Text(f"gate: {' '.join(message.split())}", style="red"), soft_wrap=True)


def filled(text: str) -> str:
    """Paragraphs on one line each, so that help texts fill the terminal they are shown in."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in cleandoc(text).split("\n\n"))


def plainly(command: Callable[P, None]) -> Callable[P, None]:
    """Print gate's own errors as one line; exit 2 for what the caller can mend, 1 for the rest."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except GateError as error:
            complain(err, error.in_full if isinstance(error, UpstreamError) else str(error))
            raise typer.Exit(2 if isinstance(error, ConfigError | RequestError) else 1) from None

    run.__doc__ = filled(command.__doc__ or "")
    return run


@contextmanager
def progress(what: str, total: int | None, done: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, and nothing elsewhere; yields what moves it on by one."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda: bar.advance(task)


@contextmanager
def status(what: str) -> Iterator[Callable[[str], None]]:
    """A line on a terminal that says what is going on, and nothing elsewhere."""
    if not err.is_terminal:
        yield lambda _: None
        return
    with err.status(what) as shown:
        yield lambda now: shown.update(f"{what}: {now}")


def print_json(data: dict[str, Any]) -> None:
    sys.stdout.write(dumps(data, orjson.OPT_INDENT_2).decode() + "\n")
