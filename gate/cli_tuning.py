"""The offline commands: import, collect, grade, tune, eval, replay, report.

What they run is imported when they run: numpy's and scipy's loading is nobody else's cost.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from gate.assemble import assemble
from gate.calibration.unfitted import Unfitted
from gate.errors import ConfigError, UnknownName
from gate.gateway import Gateway
from gate.policy import PolicyFile, find, read
from gate.terminal import cost_line, err, out, plainly, print_json

if TYPE_CHECKING:
    from gate.tuning.collection import Collected, Collection
    from gate.tuning.judgements import Judgements

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Write over what stands there.")]
PolicyOption = Annotated[str, typer.Option("--policy", "-p", help="A shipped policy's name, or a policy file.")]
CollectionArgument = Annotated[Path, typer.Argument(help="A collection made by 'gate collect'.")]
On = Annotated[Path, typer.Option("--on", help="A graded collection made by 'gate collect'.")]
SPLITS = ("test", "certify", "fit", "all")
Split = Annotated[
    str, typer.Option(help="Questions to judge on: test, certify, fit or all. Without: test, or certify if none are.")
]
NOTHING_CERTIFIED = 3
"""Exit code of ``gate tune`` where no policy keeps the promise."""


def register(app: typer.Typer) -> None:
    """Add the commands to an application."""
    for name, command in (
        ("import", import_logs),
        ("collect", collect),
        ("grade", grade),
        ("tune", tune),
        ("eval", evaluate),
        ("replay", replay),
        ("report", report),
    ):
        app.command(name)(plainly(command))


def import_logs(
    source: Annotated[Path, typer.Argument(help="Chat logs: JSON lines (also gzipped), CSV, TSV or Parquet.")],
    target: Annotated[Path, typer.Argument(help="The file of questions to write, JSON lines.")],
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make a file of questions from OpenAI-style chat logs, CSV or Parquet.

    Rows with messages, or a request and its response. What was answered is kept, and labels and ratings with it. Each
    question once; rows that cannot be used are counted by reason, never dropped unsaid.
    """
    from gate.tuning import chat_logs

    done = chat_logs.import_logs(source, target, overwrite=overwrite)
    if as_json:
        print_json(dataclasses.asdict(done))
        return
    out.print(f"{done.written} questions of {done.rows} rows; {done.duplicates} stood there again")
    out.print(f"{done.with_references} have reference answers")
    for kinds, what in ((done.unusable, "left out"), (done.unread_labels, "label not read")):
        for reason, tally in kinds.items():
            rows = ", ".join(map(str, tally.first))
            out.print(Text(f"{what}: {tally.count} rows (row {rows}{' …' if tally.count > len(tally.first) else ''}): {reason}"))


def collect(
    questions: Annotated[Path, typer.Argument(help="Questions: JSON lines, CSV, TSV or Parquet.")],
    policy: PolicyOption,
    to: Annotated[Path, typer.Option("--out", "-o", help="The collection: made, or gone on with.")],
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Questions under way at a time.")] = 8,
    max_calls: Annotated[int | None, typer.Option(min=1, help="The most calls the collection may cost.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The most tokens it may cost.")] = None,
    max_money: Annotated[float | None, typer.Option(min=0, help="The most US dollars it may cost.")] = None,
    as_json: Json = False,
) -> None:
    """Gather full evidence for every question: each upstream, closed book and with passages, all samples and signals.

    Whatever ends it, run it again: it goes on where it was, and asks nothing twice. Caps count what the collection has
    cost so far. Exits 1 when questions are left to do.
    """
    from gate.tuning.collect import Cap
    from gate.tuning.collect import collect as run
    from gate.tuning.collection import Collection
    from gate.tuning.examples import read_examples

    gateway = assemble(*_without_certificate(read(find(policy))))
    with Collection.create(to) as collection:
        added = collection.add(read_examples(questions))
        total, finished = collection.count()
        with _progress("collecting", total, finished) as step:
            cap = Cap(max_calls, max_tokens, max_money)
            done = asyncio.run(run(gateway, collection, concurrency=concurrency, cap=cap, progress=step))
    if as_json:
        print_json({**dataclasses.asdict(done), "added": dataclasses.asdict(added)})
    else:
        if added.repeated:
            out.print(f"{added.repeated} questions are the same as another, and are asked once")
        out.print(f"{done.finished} of {done.questions} questions have full evidence; it cost {cost_line(done.spent)}")
        if done.failed:
            out.print(f"{done.failed} had no first draft: run again to try again")
        if done.stopped:
            out.print(Text(f"stopped: {done.stopped}", style="yellow"))
    if done.finished < done.questions:
        raise typer.Exit(1)


def grade(
    collection: CollectionArgument,
    grader: Annotated[
        str, typer.Option(help="auto, exact, contains, number, date, token_f1, rouge_l, choice or model.")
    ] = "auto",
    option: Annotated[list[str] | None, typer.Option(help="An option of the grader, as name=value.")] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", "-p", help="Whose upstreams judge, and whose signals find suspects.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Read labels people gave from this CSV.")] = None,
    export: Annotated[Path | None, typer.Option(help="Write every answer with its label to this CSV.")] = None,
    suspects: Annotated[Path | None, typer.Option(help="Write labels that look wrong, and open ones, to this CSV.")] = None,
    again: Annotated[bool, typer.Option(help="Grade what this grader has graded before, too.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Label every answer of a collection: right, wrong, or open where the grader cannot tell.

    The model grader asks an upstream of the policy: --grader model --option upstream=large --policy P. Labels of people
    (--labels, from a file that --export or --suspects wrote) go before a grader's; where both labelled an answer, the
    grader's errors are counted.
    """
    from gate.drivers import World
    from gate.tuning import grade as grading
    from gate.tuning.collection import Collection
    from gate.tuning.grading.applying import grader as grader_of
    from gate.tuning.label_files import read_label_rows, read_labels, write_labels

    by = grader_of(grader, dict(_pair(each) for each in option or []))
    gateway = assemble(*_without_certificate(read(find(policy)))) if policy else None
    if suspects and gateway is None:
        raise ConfigError("--suspects compares labels with signals: name the policy that has them with --policy")
    with Collection.open(collection) as held:
        changed = None
        if labels:
            who = {(row.id, row.answer): row.grader for row in read_label_rows(labels)}
            changed = grading.take_labels(held, read_labels(labels), who)
        world = gateway.world if gateway else World({})
        with _progress("grading", None, 0) as step:
            done = asyncio.run(grading.grade(held, by, world, again=again, progress=step))
        judge = grading.measured_judge(held)
        if export:
            write_labels(export, grading.label_rows(held), overwrite=overwrite)
        listed = 0
        if suspects and gateway:
            listed = write_labels(suspects, grading.suspect_rows(held, gateway.plan), overwrite=overwrite)
    if as_json:
        print_json({**dataclasses.asdict(done), "changed_by_people": changed, "judge": dataclasses.asdict(judge)})
        return
    out.print(f"{done.answers} answers: {done.right} right, {done.wrong} wrong, {done.open} open")
    out.print(f"labelled by people: {done.by_people}")
    if changed is not None:
        out.print(f"{changed} labels of the file say otherwise than the grader did")
    if judge.wrong or judge.right:
        out.print(
            f"the grader against people: accepts {judge.wrong_accepted} of {judge.wrong} wrong answers, rejects "
            f"{judge.right_rejected} of {judge.right} right ones"
        )
    if suspects:
        out.print(f"{listed} suspect or open labels in {escape(str(suspects))}: mend 'correct' and read it with --labels")
    if done.failed:
        out.print(Text(f"{done.failed} answers could not be judged: run again", style="yellow"))
        raise typer.Exit(1)


def tune(
    source: Annotated[Path, typer.Argument(help="A graded collection, or a decision log (JSON lines) with --labels.")],
    policy: PolicyOption,
    to: Annotated[Path, typer.Option("--out", "-o", help="The policy file to write; its calibrator goes beside it.")],
    labels: Annotated[Path | None, typer.Option(help="For a log: a table of id, correct, and probability.")] = None,
    fit_share: Annotated[float, typer.Option(min=0.05, max=0.95, help="Share of the questions to fit on.")] = 0.4,
    certify_share: Annotated[float, typer.Option(min=0.05, max=0.95, help="Share to certify on.")] = 0.6,
    segment: Annotated[str, typer.Option(help="What the questions are of, for the certificate.")] = "",
    thresholds_only: Annotated[
        bool, typer.Option(help="Keep evidence, ladder and routes; search thresholds alone.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Fit a calibrator, search for the cheapest policy under the promise, certify it on questions that fitted nothing.

    Writes the policy with its certificate, its calibrator, and the record of every test made. Exits 3, and writes
    nothing, when no policy keeps the promise.
    """
    from gate.tuning.splits import Shares
    from gate.tuning.tune import tune as run
    from gate.tuning.tuned_files import Paths, record, write
    from gate.tuning.tuning_source import opened

    paths = Paths(to)
    paths.check(overwrite=overwrite)
    if fit_share + certify_share > 1 + 1e-9:
        raise ConfigError(f"--fit-share and --certify-share are {fit_share + certify_share:g} together: at most 1")
    file = read(find(policy))
    with opened(source, labels, Shares(fit_share, certify_share), thresholds_only=thresholds_only) as ground:
        with _status("tuning") as say:
            tuned = run(
                file,
                ground.source,
                bound=ground.bound,
                labels=ground.labels,
                segment=segment,
                calibrator=paths.calibrator.name,
                progress=say,
            )
    if tuned.policy:
        write(tuned, file, paths, overwrite=overwrite)
    if as_json:
        print_json(record(tuned))
    else:
        _show_tuned(tuned, file, paths, ground.labels)
    if not tuned.policy:
        raise typer.Exit(NOTHING_CERTIFIED)


def evaluate(
    policies: Annotated[list[str], typer.Argument(help="One policy or several, by name or file.")],
    on: On,
    split: Split = "",
    as_json: Json = False,
) -> None:
    """Judge policies on labelled questions, with intervals; several side by side with paired tests.

    Nothing is asked: each policy is run on the recorded replies.
    """
    from gate.tuning.collection import Collection
    from gate.tuning.compare import compare
    from gate.tuning.evaluate import as_json as plain
    from gate.tuning.evaluate import evaluate as measure
    from gate.tuning.judging import verdict

    gateways = {name: _loaded(name) for name in policies}
    with Collection.open(on) as collection:
        chosen = _chosen_split(collection, split)
        found = {name: verdict(g.plan, _rows(collection, chosen)) for name, g in gateways.items()}
    for name, judged in found.items():
        if judged.gaps:
            said = f"{len(judged.gaps)} questions cannot be judged under {name!r}: {judged.gaps[0][1]}"
            raise ConfigError(f"{said}; collect with a policy that has this evidence", where=str(on))
    rows = {name: judged.judgements for name, judged in found.items()}
    measured = {
        name: measure(rows[name], confidence=g.policy.promise.confidence, answer_at=g.policy.rule.answer_at)
        for name, g in gateways.items()
    }
    pairs = compare(rows) if len(rows) > 1 else ()
    if as_json:
        print_json(
            {
                "split": chosen,
                "policies": {name: plain(each) for name, each in measured.items()},
                "comparisons": [dataclasses.asdict(pair) for pair in pairs],
            }
        )
        return
    _show_evaluations(measured, chosen)
    _show_comparisons(pairs)
