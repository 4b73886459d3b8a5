"""How fitting confidence on the growing text looks in a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from gate.terminal_tuning import NOT_AFRESH

if TYPE_CHECKING:
    from gate.tuning.prefix_fit import FittedPrefix
    from gate.tuning.prefix_measures import Exposure
    from gate.tuning.prefix_tuning import PrefixTuned


def prefix_tuned(done: PrefixTuned) -> RenderableType:
    """How good it is, and what serving by it would have done."""
    head = ("drafts of", "written", "drafts", "AUROC", "ECE", "sent early", "wrong stopped")
    table = Table(Column(head[0], no_wrap=True), *head[1:], box=SIMPLE, title_justify="left")
    table.title = f"{done.split} split, when so much of each draft is written"
    for key, shares in done.shares.items():
        for place, at in enumerate(shares):
            cells = (_number(at.auroc), _number(at.ece), f"{at.released:.1%}", f"{at.stopped:.1%}")
            table.add_row("" if place else key, f"{at.share:.0%}", str(at.n), *cells)
    fitted = done.fitted
    lines: list[RenderableType] = [
        Text(f"fitted on {fitted.drafts} drafts, asked {fitted.calibrator.asked_at}"),
        table,
        Text("\n".join(_exposure(done.exposure))),
        Text(f"labels: {done.labels}", style="dim"),
    ]
    if done.split in NOT_AFRESH:
        lines.append(Text(f"{done.split}: {NOT_AFRESH[done.split]}", style="yellow"))
    lines.append(_threshold(fitted))
    if not done.useful:
        lines.append(Text("Nothing was written: stream in the mode 'hold'.", style="yellow"))
    return Group(*lines)


def _threshold(fitted: FittedPrefix) -> Text:
    shown = fitted.calibrator.shown
    if shown is None or fitted.best_bound is None:
        return Text("no draft is sure of a whole sentence before its end: nothing is sent early", style="yellow")
    promise = f"at most {shown.max_error:.2%} wrong"
    if shown.bound is None:
        said = f"no threshold keeps the promise ({promise} of what is sent early): the best bound is"
        return Text(f"{said} {fitted.best_bound:.2%}. Nothing is sent early.", style="yellow")
    held = f"{shown.wrong} wrong of {shown.released} questions of which something is sent early ({shown.asked} asked)"
    return Text(f"certified: {held}, {promise} with {shown.confidence:.0%} confidence", style="green")


def _exposure(found: Exposure) -> Iterator[str]:
    yield f"sent before the verdict: something of {found.released} of {found.questions} questions (hold: of none)"
    if found.released and found.bound is not None:
        share = found.wrong / found.released
        yield f"  wrong among them: {found.wrong} ({share:.2%}, at most {found.bound:.2%})"
    yield f"  of the text of right drafts: {found.sent:.1%}"
    yield f"tokens of drafts that are not right: {found.tokens}, not written: {found.saved} ({found.saved_share:.1%})"
    yield f"right drafts stopped: {found.right_stopped} of {found.right}"


def serving_lines(fitted: FittedPrefix, calibrator: str) -> str:
    """What to put into the policy, YAML."""
    asked = fitted.calibrator.asked_at
    lines = ["serving:", "  streaming: prefix", "  prefix:"]
    lines += [f"    calibrator: {json.dumps(calibrator)}", f"    positions: {asked.positions}"]
    lines += [f"    every: {asked.every}"] if asked.every is not None else []
    lines += [f"    entropy: {asked.entropy:g}"] if asked.entropy is not None else []
    lines += [f"    release_at: {fitted.release_at:g}", f"    stop_below: {fitted.stop_below:g}"]
    return "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
