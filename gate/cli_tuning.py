"""The offline commands: import, collect, grade, tune, eval, replay, report.

What they run is imported when they run: numpy's and scipy's loading is nobody else's cost.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from gate import terminal_tuning as views
from gate.errors import ConfigError, ReplayGap
from gate.policy import find, read
from gate.terminal import out, plainly, print_json, progress, status

if TYPE_CHECKING:
    from gate.gateway import Gateway
    from gate.tuning.collection import Collection

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Write over what stands there.")]
PolicyOption = Annotated[str, typer.Option("--policy", "-p", help="A shipped policy's name, or a policy file.")]
CollectionArgument = Annotated[Path, typer.Argument(help="A collection made by 'gate collect'.")]
On = Annotated[Path, typer.Option("--on", help="A graded collection made by 'gate collect'.")]
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

    Reads rows that hold messages, a request with its response, or a question with its answer, and keeps labels and
    ratings. Each question is written once. Rows that cannot be used are counted by reason.
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
    as_json: Json = False,
) -> None:
    """Ask every question of every upstream, closed book and with passages, and keep all replies.

    On such a collection any policy over the same models can be tuned and judged without asking again. If it is
    interrupted, run it again: it goes on where it was, and asks nothing twice. The caps are on what the collection has
    cost in all its runs. Exits 1 when questions are left to do.
    """
    from gate.tuning.collect import Cap
    from gate.tuning.collect import collect as run
    from gate.tuning.collection import Collection
    from gate.tuning.examples import read_examples

    gateway = _unfitted(policy)
    with Collection.create(to) as collection:
        added = collection.add(read_examples(questions))
        total, finished = collection.count()
        with progress("collecting", total, finished) as step:
            cap = Cap(max_calls, max_tokens, max_money)
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
    suspects: Annotated[
        Path | None, typer.Option(help="Write labels that look wrong, and open ones, to this CSV.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Grade what this grader has graded before, too.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Label every answer of a collection: right, wrong, or open where the grader cannot tell.

    For labels of people, write the answers to a CSV with --export, or only the doubtful ones with --suspects, mend the
    column 'correct' (yes, no, or empty), and read it with --labels. Who agrees with a label puts a name in the column
    'grader'. A person's label goes before a grader's; where both labelled an answer, the grader's errors are counted.

    To let a model judge: --grader model --option upstream=large --policy P. Exits 1 when answers could not be judged.
    """
    from gate.drivers import World
    from gate.tuning import grade as grading
    from gate.tuning.collection import Collection
    from gate.tuning.grading.applying import grader as grader_of
    from gate.tuning.grading.applying import named_options
    from gate.tuning.whole_file import refuse_standing

    for path in filter(None, (export, suspects)):
        refuse_standing(path, overwrite=overwrite)
    by = grader_of(grader or "auto", named_options(option or ()))
    gateway = _unfitted(policy) if policy else None
    if suspects and gateway is None:
        raise ConfigError("--suspects compares labels with signals: name the policy that has them with --policy")
    with Collection.open(collection) as held:
        changed = _taken(held, labels) if labels else None
        world = gateway.world if gateway else World({})
        with progress("grading", None, 0) as step:
            done = asyncio.run(grading.grade(held, by, world, again=again, first=grader is None, progress=step))
        judge = grading.measured_judge(held)
        listed = _listed(held, export, suspects, gateway, overwrite=overwrite)
    if as_json:
        print_json({**dataclasses.asdict(done), "changed_by_people": changed, "judge": dataclasses.asdict(judge)})
    else:
        out.print(views.graded(done, judge, changed))
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
        float | None, typer.Option(min=0.05, max=0.95, help="Share of the questions to fit on; .4 without.")
    ] = None,
    certify_share: Annotated[
        float | None, typer.Option(min=0.05, max=0.95, help="Share to certify on, .6 without; the rest is for tests.")
    ] = None,
    segment: Annotated[str, typer.Option(help="What the questions are of, for the certificate.")] = "",
    thresholds_only: Annotated[
        bool, typer.Option("--thresholds-only", help="Keep evidence, ladder and routes; search thresholds alone.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
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
    opening = opened(source, labels, shares, thresholds_only=thresholds_only)
    with opening as ground, status("tuning") as say, _same_evidence(source):
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
        out.print(views.tuned(tuned, file.policy, ground.labels, to))
    if not tuned.policy:
        raise typer.Exit(NOTHING_CERTIFIED)


def evaluate(
    policies: Annotated[list[str], typer.Argument(help="One policy or several, by name or file.")],
    on: On,
    split: Split = "",
    as_json: Json = False,
) -> None:
    """Judge policies on labelled questions, with intervals; several side by side, with paired tests.

    Nothing is asked: each policy is run on the recorded replies, as if its certificate held.
    """
    from gate.tuning.collection import Collection
    from gate.tuning.compare import compare
    from gate.tuning.evaluate import as_json as plain
    from gate.tuning.evaluate import evaluate as measure
    from gate.tuning.judging import chosen_split, questions_of, verdict

    gateways = {name: _loaded(name, certificate=False) for name in policies}
    with Collection.open(on) as collection:
        chosen = chosen_split(collection, split)
        found = {name: verdict(g.plan, questions_of(collection, chosen)) for name, g in gateways.items()}
    for name, judged in found.items():
        if judged.gaps:
            said = f"{len(judged.gaps)} questions cannot be judged under {name!r}: {judged.gaps[0][1]}"
            raise ConfigError(f"{said}; collect with a policy that has this evidence", where=str(on))
    rows = {name: judged.judgements for name, judged in found.items()}
    measured = {
        name: measure(rows[name], confidence=g.policy.promise.confidence, answer_at=g.policy.rule.everywhere)
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
    out.print(views.evaluations(measured, chosen))
    if pairs:
        out.print(views.comparisons(pairs))


def replay(
    policy: Annotated[str, typer.Argument(help="A shipped policy's name, or a policy file.")],
    log: Annotated[Path, typer.Argument(help="A decision log: the JSON lines that --trace writes.")],
    labels: Annotated[
        Path | None, typer.Option(help="A table of id, correct, and probability where audits were not even.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge a policy over a decision log without calls, and watch the logged answers for drift.

    Decisions kept with text ('gate ask --trace FILE --text') are run again from their replies. Of the others, their
    signals are decided on again, which tells less of a policy that goes other ways. What cannot be judged is counted
    by reason. The policy is judged as if its certificate held.

    With --labels, error rates are corrected for audits that were not even, and the answers that went out are held
    against the promise, audit by audit: an alarm says that it is broken.
    """
    from gate.tuning.audits import read_audits
    from gate.tuning.drift import watched as watch
    from gate.tuning.evaluate import as_json as plain
    from gate.tuning.evaluate import evaluate as measure
    from gate.tuning.replay import replay as run

    gateway, audits = _loaded(policy, certificate=False), read_audits(labels) if labels else {}
    done = run(gateway, log, audits)
    promise = gateway.policy.promise
    found = measure(done.judgements, confidence=promise.confidence, answer_at=gateway.policy.rule.everywhere)
    watched = watch(log, audits, promise) if audits else None
    if as_json:
        print_json(
            {
                "judged": len(done.judgements),
                "changed": done.changed,
                "recorded": dict(done.recorded),
                "not_judged": dict(done.gaps),
                "labels_without_decision": done.strangers,
                "evaluation": plain(found),
                "drift": watched.summary() if watched else None,
            }
        )
    else:
        out.print(views.replayed(done, found, watched))


def report(
    policy: Annotated[str, typer.Argument(help="A shipped policy's name, or a policy file.")],
    on: On,
    to: Annotated[Path, typer.Option("--out", "-o", help="The HTML file to write.")],
    split: Split = "",
    worst: Annotated[int, typer.Option(min=0, max=100, help="How many of the worst answers to show.")] = 10,
    overwrite: Overwrite = False,
) -> None:
    """Write one HTML page about a policy: what it promises, keeps and costs, and where it goes wrong.

    The page is one file that needs no network. It shows questions and answers in clear: treat it as the traffic it came
    from. What 'gate tune' wrote beside the policy is shown too.
    """
    from gate.tuning.collection import Collection
    from gate.tuning.judging import chosen_split, questions_of
    from gate.tuning.reporting import reported
    from gate.tuning.whole_file import refuse_standing, written_whole

    refuse_standing(to, overwrite=overwrite)
    gateway = _loaded(policy)
    record = find(policy).with_suffix(".tuning.json")
    with Collection.open(on) as collection:
        chosen = chosen_split(collection, split)
        said = f"the {chosen} split of {on.name}" if chosen != "all" else f"all questions of {on.name}"
        page = reported(
            gateway,
            lambda: questions_of(collection, chosen),
            record=record,
            worst=worst,
            data=said,
            date=f"{datetime.now(UTC):%Y-%m-%d}",
        )
    with written_whole(to, overwrite=overwrite) as file:
        file.write(page.encode("utf-8", "replace"))
    out.print(Text(f"written: {to}"))


# --- shared by the commands --------------------------------------------------------------------------------------


def _loaded(name: str, *, certificate: bool = True) -> Gateway:
    """A gateway for a policy that is tuned; without its certificate a void one changes nothing."""
    from gate.assemble import assemble

    return assemble(read(find(name), certificate=certificate))


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


def _listed(
    held: Collection, export: Path | None, suspects: Path | None, gateway: Gateway | None, *, overwrite: bool
) -> int:
    """Write the files for people that are wanted; how many labels are suspect or open."""
    from gate.tuning.grade import label_rows, suspect_rows
    from gate.tuning.label_files import write_labels

    if export:
        write_labels(export, label_rows(held), overwrite=overwrite)
    if not (suspects and gateway):
        return 0
    with _same_evidence(held.path):
        return write_labels(suspects, suspect_rows(held, gateway.plan), overwrite=overwrite)
