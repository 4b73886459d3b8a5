"""The offline commands that judge a policy: eval, replay, report.

What they run is imported when they run: numpy's and scipy's loading is nobody else's cost.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from gate import terminal_tuning as views
from gate.errors import ConfigError
from gate.policy import find, read
from gate.terminal import JsonOption, OverwriteOption, PartsOption, RunOnOption, out, plainly, print_json, progress

if TYPE_CHECKING:
    from gate.gateway import Gateway

On = Annotated[Path, typer.Option("--on", help="A graded collection made by 'gate collect'.")]
Split = Annotated[
    str, typer.Option(help="Questions to judge on: test, certify, fit or all. Without: test, or certify if none are.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to an application."""
    for name, command in (("eval", evaluate), ("replay", replay), ("report", report), ("signals", signals)):
        app.command(name)(plainly(command))


def evaluate(
    policies: Annotated[list[str], typer.Argument(help="One policy or several, by name or file.")],
    on: On,
    split: Split = "",
    as_json: JsonOption = False,
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
    on: RunOnOption = "local",
    parts: PartsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a policy over a decision log without calls, and watch the logged answers for drift.

    Decisions kept with text ('gate ask --trace FILE --text') are run again from their replies. Of the others, their
    signals are decided on again, which tells less of a policy that goes other ways. What cannot be judged is counted
    by reason. The policy is judged as if its certificate held.

    With --labels, error rates are corrected for audits that were not even, and the answers that went out are held
    against the promise, audit by audit: an alarm says that it is broken.

    With --parts, a run that was interrupted goes on where it was.
    """
    from gate.tuning.anywhere import Judged
    from gate.tuning.audits import read_audits
    from gate.tuning.drift import watched as watch
    from gate.tuning.evaluate import as_json as plain
    from gate.tuning.evaluate import evaluate as measure
    from gate.tuning.replay import replay as run

    gateway, audits = _loaded(policy, certificate=False), read_audits(labels) if labels else {}
    work = Judged.by(find(policy), labels) if parts else None
    with progress("judging parts", None, 0) as step:
        done = run(gateway, log, audits, work=work, on=on, folder=parts, progress=step)
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


def signals(
    policy: Annotated[str, typer.Argument(help="A shipped policy's name, or a policy file.")],
    log: Annotated[Path, typer.Argument(help="A decision log: the JSON lines that --trace writes.")],
    to: Annotated[Path, typer.Option("--out", "-o", help="The file to write, JSON lines: a row for each step.")],
    on: RunOnOption = "local",
    parts: PartsOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compute the signals of a policy over a decision log, without calls.

    From the replies, where they were kept (--text), else as they were logged. A row holds id, step, stage, action, p
    and the signals; or id and gap, where the policy asks for what was never recorded. With --parts, a run that was
    interrupted goes on where it was.
    """
    import orjson

    from gate.tuning.anywhere import Signals
    from gate.tuning.parts import map_records
    from gate.tuning.whole_file import refuse_standing, written_whole

    refuse_standing(to, overwrite=overwrite)
    rows = gaps = 0
    work = Signals.of(find(policy))
    with progress("computing parts", None, 0) as step, written_whole(to, overwrite=overwrite) as file:
        for row in map_records(log, work, on=on, folder=parts, progress=step):
            file.write(orjson.dumps(row) + b"\n")
            rows, gaps = rows + 1, gaps + ("gap" in row)
    if as_json:
        print_json({"written": str(to), "rows": rows, "gaps": gaps})
    else:
        out.print(Text(f"written: {to}, {rows} rows, {gaps} of them gaps"))


def report(
    policy: Annotated[str, typer.Argument(help="A shipped policy's name, or a policy file.")],
    on: On,
    to: Annotated[Path, typer.Option("--out", "-o", help="The HTML file to write.")],
    split: Split = "",
    worst: Annotated[int, typer.Option(min=0, max=100, help="How many of the worst answers to show.")] = 10,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
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
        if chosen in views.NOT_AFRESH:
            said += f" ({views.NOT_AFRESH[chosen]})"
        page = reported(
            gateway,
            questions_of(collection, chosen),
            record=record,
            worst=worst,
            data=said,
            date=f"{datetime.now(UTC):%Y-%m-%d}",
        )
    with written_whole(to, overwrite=overwrite) as file:
        file.write(page.encode("utf-8", "replace"))
    if as_json:
        print_json({"written": str(to), "split": chosen})
    else:
        out.print(Text(f"written: {to}"))


def _loaded(name: str, *, certificate: bool = True) -> Gateway:
    """A gateway for a policy that is tuned; without its certificate a void one changes nothing."""
    from gate.assemble import assemble

    return assemble(read(find(name), certificate=certificate))
