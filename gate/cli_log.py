"""The commands of the decision log: collect, export, purge, show.

What they run is imported when they run: SQLAlchemy's loading is nobody else's cost.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from gate.errors import RequestError
from gate.terminal import JsonOption, OverwriteOption, PolicyOption, filled, out, plainly, print_json

if TYPE_CHECKING:
    from gate.log.kept import Audited, Kept
    from gate.tuning.logged_questions import Taken

UrlOption = Annotated[
    str,
    typer.Option(
        envvar="GATE_LOG_URL",
        help="Where the log is: sqlite:///decisions.db or postgresql://user@host/database. An address with a password "
        "is better kept in the variable.",
    ),
]
KeyOption = Annotated[
    list[str] | None, typer.Option("--key", help="Only decisions of this client key, by its name; may be repeated.")
]
_UNITS = {"h": 3600, "d": 86_400, "w": 604_800}
"""Not m: minutes to some, months to others."""
_HELP = "Tune on, export, purge and show the decision log of 'gate serve'."


def register(app: typer.Typer) -> None:
    """Add the commands to an application."""
    commands = typer.Typer(help=filled(_HELP), no_args_is_help=True)
    for command in (collect, export, purge, show):
        commands.command()(plainly(command))
    app.add_typer(commands, name="log")


def collect(
    url: UrlOption,
    policy: PolicyOption,
    to: Annotated[Path, typer.Option("--out", "-o", help="The collection: made, or gone on with.")],
    since: Annotated[str, typer.Option(help="Only decisions from then on: 30d, 12h, or a date.")] = "",
    key: KeyOption = None,
    all_labels: Annotated[
        bool, typer.Option("--all-labels", help="Also take decisions that were not drawn, or not reviewed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a collection, as 'gate collect' does, of the labelled decisions of a policy: without a single call.

    Taken are decisions with full evidence ('gate serve --full-evidence', --keep text) that were drawn for a check and
    labelled. What people hold to be right becomes the reference of the question, by which 'gate grade' labels what
    other models said; then 'gate tune', 'gate eval' and 'gate report' take the collection as any other. Run again, it
    takes what came since.

    Decisions that nobody drew, or that only users told of (feedback of keys without the role review), are left out and
    counted, for people label what strikes them. Where every decision gets a label, --all-labels takes them all alike.
    """
    from gate.assemble import assemble
    from gate.calibration.unfitted import Unfitted
    from gate.log.kept import Sought
    from gate.log.opening import existing_log
    from gate.policy import find, read
    from gate.tuning.collection import Collection
    from gate.tuning.logged_questions import take

    gateway = assemble(read(find(policy), certificate=False), Unfitted())
    keys = tuple(key) if key else None
    sought = Sought(policy=gateway.name, keys=keys, since=moment(since) if since else None)
    with existing_log(url) as log, Collection.create(to) as collection:
        taken = take(log, gateway, collection, sought, even=all_labels)
    if as_json:
        print_json(dataclasses.asdict(taken))
    else:
        out.print(_taken(taken, to), soft_wrap=True)


def export(
    url: UrlOption,
    to: Annotated[Path, typer.Option("--out", "-o", help="The file of traces to write, JSON lines.")],
    since: Annotated[str, typer.Option(help="Only decisions from then on: 30d, 12h, or a date.")] = "",
    policy: Annotated[str, typer.Option(help="Only decisions of the policy of this name.")] = "",
    key: KeyOption = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="Also write the labels of these decisions to this CSV: id, correct, probability, draft."),
    ] = None,
    all_labels: Annotated[
        bool, typer.Option("--all-labels", help="With --labels: also of decisions that were not drawn, and feedback.")
    ] = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write decisions as the traces that 'gate replay', 'gate tune' and 'gate explain' read, and their labels.

    Labels are written with the chance of having been drawn. Those of decisions that nobody drew, and feedback of keys
    without the role review, are left out and counted: people label what strikes them, and by that no error rate can be
    told. Where every decision gets a label, --all-labels takes them all alike.
    """
    from gate.log import exporting
    from gate.log.kept import Sought
    from gate.log.opening import existing_log
    from gate.tuning.whole_file import refuse_standing, written_whole

    if all_labels and labels is None:
        raise RequestError("--all-labels goes with --labels: name the file to write them to")
    for path in filter(None, (to, labels)):
        refuse_standing(path, overwrite=overwrite)
    sought = Sought(policy=policy, keys=tuple(key) if key else None, since=moment(since) if since else None)
    count = 0
    with existing_log(url) as log:
        with written_whole(to, overwrite=overwrite) as file:
            for line in exporting.lines(log, sought):
                file.write(line.encode() + b"\n")
                count += 1
        given = exporting.labels(log, sought) if labels else ()
    told = [each for each in given if all_labels or each.audit_counts]
    if labels:
        with written_whole(labels, overwrite=overwrite) as file:
            file.write(_table_of(told, even=all_labels))
    if as_json:
        print_json({"decisions": count, "labels": len(told), "labels_not_drawn": len(given) - len(told)})
        return
    out.print(Text(f"{count} decisions in {to}"), soft_wrap=True)
    if labels:
        others = len(given) - len(told)
        left = f"; {others} of decisions not drawn, or not reviewed, left out" if others else ""
        out.print(Text(f"{len(told)} labels in {labels}{left}"), soft_wrap=True)


def purge(
    url: UrlOption,
    before: Annotated[str, typer.Option(help="Forget what is older: 30d, 12h, or a date.")],
    key: KeyOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many there are.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Forget old decisions, with their traces and labels.

    It goes in small steps beside a server that writes. What was forgotten is overwritten in a SQLite file, which stays
    as large as it is and is filled again.
    """
    from gate.log import retention
    from gate.log.opening import existing_log

    until = moment(before)
    with existing_log(url) as log:
        done = (retention.count if dry_run else retention.purge)(log, until, keys=key or None)
    if as_json:
        print_json({"decisions": done, "purged": not dry_run})
        return
    when = f"{datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M} UTC"
    out.print(Text(f"{done} decisions from before {when} {'would be' if dry_run else 'were'} forgotten"))


def show(
    url: UrlOption,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 20,
    policy: Annotated[str, typer.Option(help="Only decisions of the policy of this name.")] = "",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the latest decisions, the newest first; with --json all that is kept of each but its trace."""
    from gate.log.kept import Sought
    from gate.log.opening import existing_log
    from gate.log.reader import LogReader

    with existing_log(url) as log:
        found = LogReader(log).recent(Sought(policy=policy, keys=tuple(key) if key else None), limit)
    if as_json:
        print_json({"decisions": [_plain(each) for each in found]})
    else:
        out.print(_shown(found))


def moment(text: str) -> float:
    """Seconds since 1970 of a date (UTC unless it says otherwise), or of so long ago: ``30d``, ``12h``, ``2w``.

    Raises `RequestError` for anything else.
    """
    if ago := re.fullmatch(r"(\d{1,4})([hdw])", text.strip()):
        return time.time() - float(ago[1]) * _UNITS[ago[2]]
    try:
        date = datetime.fromisoformat(text.strip())
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise RequestError(f"{text!r} is no time: give a date as 2026-01-31, or how long ago as 30d or 12h") from None


def _table_of(labels: Sequence[Audited], *, even: bool) -> bytes:
    """Labels as `gate.tuning.audits` reads them. ``even``: all decisions were as likely to be labelled."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(["id", "correct", "probability", "draft"])
    for each in labels:
        chance = "" if even or each.audit is None else each.audit
        draft = "first" if each.mode == "observe" else "last"
        table.writerow([each.id, "yes" if each.correct else "no", chance, draft])
    return written.getvalue().encode()


def _taken(taken: Taken, to: Path) -> Text:
    said = f"{taken.questions} questions in {to}: {taken.right} right, {taken.wrong} wrong, {taken.unclear} unclear"
    if taken.without_reference:
        said += (
            f"\n{taken.without_reference} of them without a word of what would have been right: another model's answer "
            "to these counts as wrong unless 'gate grade' is told"
        )
    listed = (f"\nleft out: {count}, because {reason}" for reason, count in taken.left_out.items())
    return Text("".join([said, *listed]))


def _plain(kept: Kept) -> dict[str, object]:
    told = dataclasses.asdict(kept)
    del told["explanation"]  # it is in the trace, which an export holds
    return told


def _shown(found: Sequence[Kept]) -> Table:
    table = Table("time (UTC)", "id", "policy", "key", "action", "p", "reason", "status", "ms", "label")
    for each in found:
        label = "" if each.label is None else {True: "right", False: "wrong", None: "open"}[each.label.correct]
        marked = f"{each.action or 'error'}{' (observed)' if each.mode == 'observe' else ''}"
        table.add_row(
            f"{datetime.fromtimestamp(each.at, UTC):%Y-%m-%d %H:%M:%S}",
            *map(Text, (each.id, each.policy, each.key, marked)),
            "" if each.p is None else f"{each.p:.3f}",
            *map(Text, (each.reason, str(each.status), f"{each.seconds * 1000:.0f}", label)),
        )
    return table
