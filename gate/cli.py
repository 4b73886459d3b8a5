"""The commands: ask, demo, check, explain, serve, and those of the other modules `gate.cli_*`.

What a command runs is imported when it runs, so that ``--help`` and a misspelt option are answered at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.table import Table
from rich.text import Text

import gate
from gate import (
    __version__,
    cli_deploy,
    cli_index,
    cli_judging,
    cli_keys,
    cli_log,
    cli_mcp,
    cli_prefix,
    cli_serving,
    cli_tuning,
    cli_vllm,
)
from gate.errors import GateError, RequestError
from gate.log.explain import explanation, outcome_explanation, sources
from gate.log.jsonl import TraceFile, read
from gate.pocket.world import Fact, facts_of, unit_hash
from gate.terminal import (
    STYLE,
    JsonOption,
    PolicyOption,
    certificate_line,
    cost_line,
    err,
    filled,
    out,
    outcome_panel,
    plainly,
    policy_view,
    print_json,
    trace_view,
)
from gate.traces import TraceRecord
from gate.types import Action, Cost, Outcome, Question

if TYPE_CHECKING:
    from gate.gateway import Gateway

HELP = """A gateway that lets a language model's answer through only when it is probably right.

Exit codes: 0 done; 1 an upstream failed, or something is left to do; 2 what was asked for or given cannot be used, and
the message says what would do; 3 from 'gate tune' when no policy keeps the promise.
"""
app = typer.Typer(
    name="gate",
    help=filled(HELP),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

TraceOption = Annotated[Path | None, typer.Option("--trace", help="Append the trace to this JSON-lines file.")]
StatesOption = Annotated[
    bool, typer.Option("--states", help="With --text: keep internal states too. Text can be told from them.")
]


@app.command()
@plainly
def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    policy: PolicyOption = "balanced",
    as_json: JsonOption = False,
    trace: TraceOption = None,
    text: Annotated[
        bool, typer.Option(help="Keep question and answers in the trace, so that it can be replayed.")
    ] = False,
    states: StatesOption = False,
) -> None:
    """Ask one question through the gate: the answer or a refusal, how sure, why, and what it cost.

    With --json a failure is an object too, with its cause in "error".
    """
    keep = _sink(trace, text=text, states=states) or (lambda _: None)
    try:
        gateway, outcome, record = _ask(question, policy)
    except GateError as error:
        if error.trace:
            keep(error.trace)
        if as_json:
            print_json({**(explanation(error.trace) if error.trace else {}), "error": str(error)})
        raise
    keep(record)
    if as_json:
        told = {"text": outcome.text, "answered": outcome.answered, "passages": sources(outcome)}
        print_json(told | explanation(record))
    else:
        out.print(outcome_panel(outcome))
        out.print(Text(f"promise: {certificate_line(gateway, outcome)}", style="dim"))


@app.command()
@plainly
def demo(
    policy: PolicyOption = "balanced",
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many questions of the test split.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Ask the pocket model questions it was not tuned on, with and without the gate."""
    from rich.progress import track

    from gate.assemble import load_answering

    gateway = load_answering(policy)
    facts = demo_facts(count)
    steps = track(facts, description="asking", console=err, transient=True, disable=not err.is_terminal)
    asked = [_Asked(fact, *gateway.ask(Question.from_text(fact.question))) for fact in steps]
    gateway.close()
    totals = demo_totals(asked)
    if as_json:
        print_json(totals)
        return
    out.print(_demo_table(asked))
    out.print(_totals_table(totals))
    out.print(Text(f"cost: {cost_line(sum((a.outcome.cost for a in asked), Cost()))}", style="dim"))
    out.print(Text(f"promise of policy {gateway.name!r}: {certificate_line(gateway)}", style="dim"))


@app.command()
@plainly
def check(policy: Annotated[str, typer.Argument(help="A shipped policy's name, or a policy file.")]) -> None:
    """Load a policy and say what it does.

    Exits 1 when its certificate is void, and 2, naming file and line, when it cannot run.
    """
    gateway = gate.load_gateway(policy)
    out.print(policy_view(gateway))
    if gateway.void:
        raise typer.Exit(1)


@app.command()
@plainly
def explain(
    trace: Annotated[Path, typer.Argument(help="A trace file.")],
    id_: Annotated[
        str | None, typer.Option("--id", help="The decision's id, or how it starts; the last one without.")
    ] = None,
    as_json: JsonOption = False,
    replay: Annotated[
        str | None,
        typer.Option(
            help="Also say what this policy would have done, with no calls: possible as far as the recording holds the "
            "replies it would have asked for."
        ),
    ] = None,
) -> None:
    """Explain a recorded decision: signals, what each added, thresholds, costs."""
    record = _find(read(trace), id_) or _missing(trace, id_)
    replayed = gate.load_gateway(replay).replay(record) if replay else None
    if as_json:
        shown = explanation(record) | ({"replay": outcome_explanation(replayed)} if replayed else {})
        print_json(shown)
        return
    out.print(trace_view(record))
    if replayed:
        out.print(Text(f"\nunder the policy {replay!r}:"))
        out.print(outcome_panel(replayed))


def _sink(trace: Path | None, *, text: bool, states: bool) -> Callable[[TraceRecord], None] | None:
    """What takes traces; None when none are kept."""
    if states and not (trace and text):
        raise RequestError("--states goes with --trace and --text: without its text a trace is not replayed")
    return TraceFile(trace, text=text, states=states).append if trace else None


def _version(wanted: bool) -> None:
    if wanted:
        out.print(__version__, highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Exists for ``--version``."""


cli_serving.register(app)
cli_tuning.register(app)
cli_prefix.register(app)
cli_judging.register(app)
cli_vllm.register(app)
cli_deploy.register(app)
cli_index.register(app)
cli_log.register(app)
cli_keys.register(app)
cli_mcp.register(app)


def main() -> None:
    for stream in (sys.stdout, sys.stderr):  # a terminal may be unable to show what a model wrote
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    app()


# --- ask ---------------------------------------------------------------------------------------------------------


def _ask(question: str, policy: str) -> tuple[Gateway, Outcome, TraceRecord]:
    from gate.assemble import load_answering

    if not question.strip():
        raise RequestError("the question is empty")
    gateway = load_answering(policy)
    try:
        return gateway, *gateway.ask(Question.from_text(question))
    finally:
        gateway.close()


# --- explain -----------------------------------------------------------------------------------------------------


def _find(records: Iterable[TraceRecord], id_: str | None) -> TraceRecord | None:
    found = None
    for record in records:
        if id_ is None or record.id.startswith(id_):
            if id_ and found and found.id != record.id:  # ids of one minute begin alike
                raise RequestError(
                    f"several decisions begin with {id_!r}, as {found.id} and {record.id}: give more of it"
                )
            found = record
    return found


def _missing(trace: Path, id_: str | None) -> NoReturn:
    raise RequestError(f"{trace} holds no decision {id_!r}" if id_ else f"{trace} holds no decisions")


# --- demo --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    fact: Fact
    outcome: Outcome
    record: TraceRecord

    @property
    def draft(self) -> str:
        """What the first model said first, which would have gone out without the gate."""
        said = (entry.generations for entry in self.record.tape if entry.generations)
        first = next(said, None)
        return first.choices[0].text if first else ""

    def right(self, said: str) -> bool:
        from gate.evidence.meanings import normalize

        return normalize(said) == normalize(self.fact.answer)


def demo_facts(count: int) -> list[Fact]:
    """Test facts in an order that depends on nothing but their keys: nobody picked them."""
    return sorted(facts_of("test"), key=lambda fact: unit_hash(fact.key, "demo"))[:count]


def demo_totals(asked: list[_Asked]) -> dict[str, dict[str, float]]:
    """Answered, right and wrong, without and with the gate."""
    answered = [a for a in asked if a.outcome.answered]

    def tally(texts: list[tuple[_Asked, str]]) -> dict[str, float]:
        right = sum(a.right(said) for a, said in texts)
        wrong = len(texts) - right
        share = wrong / len(texts) if texts else 0.0
        return {
            "asked": len(asked),
            "answered": len(texts),
            "right": right,
            "wrong": wrong,
            "error_among_answers": share,
        }

    return {
        "without gate": tally([(a, a.draft) for a in asked]),
        "with gate": tally([(a, a.outcome.text) for a in answered]),
    }


def _demo_table(asked: list[_Asked]) -> Table:
    table = Table("question", "model alone", "through the gate", "p", "way", title_justify="left")
    for a in asked:
        alone = Text(a.draft, style="green" if a.right(a.draft) else "red")
        if a.outcome.answered:
            said = Text(a.outcome.text, style="green" if a.right(a.outcome.text) else "red")
        else:
            done = "asked back" if a.outcome.action is Action.CLARIFY else "declined"
            said = Text(f"({done})", style=STYLE[a.outcome.action])
        p = f"{a.outcome.confidence.p:.2f}" if a.outcome.confidence else ""
        table.add_row(Text(a.fact.question), alone, said, p, _short_way(a.outcome))
    return table


def _short_way(outcome: Outcome) -> str:
    taken = [s.decision.action.value for s in outcome.steps[:-1] if s.decision.action.value != "gather"]
    return " → ".join(taken) or "at once"


def _totals_table(totals: dict[str, dict[str, float]]) -> Table:
    table = Table("", "asked", "answered", "right", "wrong", "wrong among answers")
    for name, row in totals.items():
        numbers = [str(int(row[key])) for key in ("asked", "answered", "right", "wrong")]
        table.add_row(name, *numbers, f"{row['error_among_answers']:.0%}")
    return table
