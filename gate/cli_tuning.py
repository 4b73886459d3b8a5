"""The offline commands that make a policy: import, collect, grade, tune. Those that judge one: `gate.cli_judging`.

What they run is imported when they run: numpy's and scipy's loading is nobody else's cost.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from gate import terminal_tuning as views
from gate.errors import ConfigError, ReplayGap
from gate.policy import find, read
from gate.terminal import (
    JsonOption,
    OverwriteOption,
    PartsOption,
    PolicyOption,
    RunOnOption,
    TrustJudgeOption,
    out,
    plainly,
    print_json,
    progress,
    status,
)

if TYPE_CHECKING:
    from gate.gateway import Gateway
    from gate.tuning.collection import Collection

CollectionArgument = Annotated[Path, typer.Argument(help="A collection made by 'gate collect'.")]
NOTHING_CERTIFIED = 3
"""Exit code of ``gate tune`` where no policy keeps the promise."""


def register(app: typer.Typer) -> None:
    """Add the commands to an application."""
    for name, command in (
        ("import", import_logs),
        ("collect", collect),
        ("grade", grade),
        ("tune", tune),
    ):
        app.command(name)(plainly(command))


def import_logs(
    source: Annotated[Path, typer.Argument(help="Chat logs: JSON lines (also gzipped), CSV, TSV or Parquet.")],
    target: Annotated[Path, typer.Argument(help="The file of questions to write, JSON lines.")],
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a file of questions from OpenAI-style chat logs, CSV or Parquet.

    Reads rows that hold messages, a request with its response, or a question with its answer, and keeps labels. Ratings
    are no labels. Each question is written once. Rows that cannot be used are counted by reason.
    """
    from gate.tuning import chat_logs

    done = chat_logs.import_logs(source, target, overwrite=overwrite)
    if as_json:
        print_json(dataclasses.asdict(done))
    else:
        out.print(views.imported(done))


def collect(
    questions: Annotated[Path, typer.Argument(help="Questions: JSON lines, CSV, TSV or Parquet.")],
    policy: PolicyOption,
    to: Annotated[Path, typer.Option("--out", "-o", help="The collection: made, or gone on with.")],
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Questions under way at a time.")] = 8,
    max_calls: Annotated[int | None, typer.Option(min=1, help="The most calls the collection may cost.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The most tokens it may cost.")] = None,
    max_money: Annotated[float | None, typer.Option(min=0, help="The most US dollars it may cost.")] = None,
    without_references: Annotated[
        bool, typer.Option("--without-references", help="Take questions whose answer only people can judge.")
    ] = False,
    on: RunOnOption = "local",
    parts: PartsOption = None,
    forget_parts: Annotated[
        bool, typer.Option("--forget-parts", help="Give up replies in parts whose folder is gone; they are asked anew.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask every question of every upstream, closed book and with passages, and keep all replies.

    On such a collection any policy over the same models can be tuned and judged without asking again. If it is
    interrupted, run it again: it goes on where it was, and asks nothing twice. The caps are on what the collection has
    cost in all its runs. Exits 1 when questions are left to do.

    With --on ray, the questions are asked in parts by the workers of a cluster, each with --concurrency questions under
    way: set it so that all of them together keep the pace that the upstreams allow.
    """
    from gate.tuning.collect import Cap
    from gate.tuning.collect import collect as run
    from gate.tuning.collect_parts import collect_in_parts, take_parts
    from gate.tuning.collection import Collection
    from gate.tuning.examples import read_examples
    from gate.tuning.one_at_a_time import one_at_a_time
    from gate.tuning.parts import LOCAL, checked

    gateway, cap, in_parts = _unfitted(policy), Cap(max_calls, max_tokens, max_money), on != LOCAL or parts is not None
    if in_parts:
        checked(on, parts)
    busy = "another 'gate collect' is at work on this collection: let it end first"
    with one_at_a_time(to, busy), Collection.create(to) as collection:
        added = collection.add(read_examples(questions, require_references=not without_references))
        take_parts(collection, forget=forget_parts)
        total, finished = collection.count()
        with progress("collecting", total, finished) as step:
            if in_parts:
                done = collect_in_parts(
                    find(policy), collection, parts, on=on, concurrency=concurrency, cap=cap, progress=step
                )
            else:
                done = asyncio.run(run(gateway, collection, concurrency=concurrency, cap=cap, progress=step))
    if as_json:
        print_json({**dataclasses.asdict(done), "added": dataclasses.asdict(added)})
    else:
        out.print(views.collected(done, added))
    if done.finished < done.questions:
        raise typer.Exit(1)


def grade(
    collection: CollectionArgument,
    grader: Annotated[
        str | None,
        typer.Option(
            help="auto, exact, contains, number, date, token_f1, rouge_l, choice or model. Without: auto, of answers "
            "that none has graded yet."
        ),
    ] = None,
    option: Annotated[list[str] | None, typer.Option(help="An option of the grader, as name=value.")] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", "-p", help="Whose upstreams judge, and whose signals find suspects.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Read labels people gave from this CSV.")] = None,
    export: Annotated[Path | None, typer.Option(help="Write every answer with its label to this CSV.")] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Export so many answers, drawn at random and without their labels.")
    ] = None,
    suspects: Annotated[
        Path | None, typer.Option(help="Write labels that look wrong, and open ones, to this CSV.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Grade what this grader has graded before, too.")] = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Label every answer of a collection: right, wrong, or open where the grader cannot tell.

    For labels of people, write the answers to a CSV with --export, or only the doubtful ones with --suspects, mend the
    column 'correct' (yes, no, or empty), and read it with --labels. Who agrees with a label puts a name in the column
    'grader'. A person's label goes before a grader's; where both labelled an answer, the grader's errors are counted.

    To let a model judge: --grader model --option upstream=large --policy P. How often it errs is counted on a random
    sample that people label: --sample 200 --export sample.csv. Exits 1 when answers could not be judged.
    """
    from gate.drivers import World
    from gate.tuning import grade as grading
    from gate.tuning.collection import Collection
    from gate.tuning.grading.applying import grader as grader_of
    from gate.tuning.grading.applying import named_options

    _check_lists(export, sample, suspects, policy, overwrite=overwrite)
    by = grader_of(grader or "auto", named_options(option or ()))
    gateway = _unfitted(policy) if policy else None
    with Collection.open(collection) as held:
        changed = _taken(held, labels) if labels else None
        world = gateway.world if gateway else World({})
        with progress("grading", None, 0) as step:
            done = asyncio.run(grading.grade(held, by, world, again=again, first=grader is None, progress=step))
        judge = grading.measured_judge(held)
        listed = _listed(held, export, sample, suspects, gateway, overwrite=overwrite)
    if as_json:
        print_json({**dataclasses.asdict(done), "changed_by_people": changed, "judge": dataclasses.asdict(judge)})
    else:
        out.print(views.graded(done, judge, changed))
        if sample:
            out.print(Text(f"a random sample in {export}: fill in 'correct', then --labels {export}"))
        if suspects:
            out.print(Text(f"{listed} suspect or open labels in {suspects}: mend 'correct', then --labels {suspects}"))
    if done.failed:
        raise typer.Exit(1)


def tune(
    source: Annotated[Path, typer.Argument(help="A graded collection, or a decision log (JSON lines) with --labels.")],
    policy: PolicyOption,
    to: Annotated[Path, typer.Option("--out", "-o", help="The policy file to write; its calibrator goes beside it.")],
    labels: Annotated[Path | None, typer.Option(help="For a log: a table of id, correct, and probability.")] = None,
    fit_share: Annotated[
        float | None, typer.Option(min=0.05, max=0.95, help="Share of the questions to fit on; .35, of a log .4.")
    ] = None,
    certify_share: Annotated[
        float | None, typer.Option(min=0.05, max=0.95, help="Share to certify on; .45, of a log .6. The rest tests.")
    ] = None,
    segment: Annotated[str, typer.Option(help="What the questions are of, for the certificate.")] = "",
    thresholds_only: Annotated[
        bool, typer.Option("--thresholds-only", help="Keep evidence, ladder and routes; search thresholds alone.")
    ] = False,
    trust_judge: TrustJudgeOption = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fit a calibrator, search for the cheapest policy that keeps the promise, and certify it on questions kept apart.

    Writes the policy with its certificate, and beside it its calibrator and the record of every test made. From a
    decision log, only what was audited (--labels) is learned from, and only thresholds are searched.

    Exits 3, and writes nothing, when no policy keeps the promise.
    """
    from gate.tuning.splits import chosen_shares
    from gate.tuning.tune import tune as run
    from gate.tuning.tuned_files import Paths, record, write
    from gate.tuning.tuning_source import opened

    paths = Paths(to)
    paths.check(overwrite=overwrite)
    file = read(find(policy), certificate=False)
    shares = chosen_shares(fit_share, certify_share)
    opening = opened(source, labels, shares, thresholds_only=thresholds_only, trust=trust_judge)
    with opening as ground, status("tuning") as say, _same_evidence(source):
        tuned = run(
            file,
            ground.source,
            bound=ground.bound,
            labels=ground.labels,
            segment=segment,
            calibrator=paths.calibrator.name,
            probes=os.path.relpath(paths.probes.resolve(), file.path.parent.resolve()),
            progress=say,
        )
    if tuned.policy:
        write(tuned, file, paths, overwrite=overwrite)
    if as_json:
        print_json(record(tuned))
    else:
        out.print(views.tuned(tuned, file.policy, ground.labels, to))
    if not tuned.policy:
        raise typer.Exit(NOTHING_CERTIFIED)


# --- shared by the commands --------------------------------------------------------------------------------------


def _unfitted(name: str) -> Gateway:
    """A gateway for a policy whose calibrator may not be there yet."""
    from gate.assemble import assemble
    from gate.calibration.unfitted import Unfitted

    return assemble(read(find(name), certificate=False), Unfitted())


@contextmanager
def _same_evidence(collection: Path) -> Iterator[None]:
    try:
        yield
    except ReplayGap as error:
        raise ConfigError(f"{error}: collect with a policy that has this evidence", where=str(collection)) from error


def _taken(held: Collection, labels: Path) -> int:
    """Put labels of people in; how many change one that was there."""
    from gate.tuning.grade import take_labels
    from gate.tuning.label_files import read_label_rows, read_labels

    who = {(row.id, row.answer): row.grader for row in read_label_rows(labels)}
    return take_labels(held, read_labels(labels), who)


def _check_lists(
    export: Path | None, sample: int | None, suspects: Path | None, policy: str | None, *, overwrite: bool
) -> None:
    """Refuse files for people that could not be written, before anything is graded."""
    from gate.tuning.whole_file import refuse_standing

    for path in filter(None, (export, suspects)):
        refuse_standing(path, overwrite=overwrite)
    if suspects and not policy:
        raise ConfigError("--suspects compares labels with signals: name the policy that has them with --policy")
    if sample and export is None:
        raise ConfigError("--sample says how many answers to draw: name the file to write them to with --export")


def _listed(
    held: Collection,
    export: Path | None,
    sample: int | None,
    suspects: Path | None,
    gateway: Gateway | None,
    *,
    overwrite: bool,
) -> int:
    """Write the files for people that are wanted; how many labels are suspect or open."""
    from gate.tuning.grade import draw_sample, label_rows, suspect_rows
    from gate.tuning.label_files import write_labels

    if export:
        write_labels(export, draw_sample(held, sample) if sample else label_rows(held), overwrite=overwrite)
    if not (suspects and gateway):
        return 0
    with _same_evidence(held.path):
        return write_labels(suspects, suspect_rows(held, gateway.plan), overwrite=overwrite)
