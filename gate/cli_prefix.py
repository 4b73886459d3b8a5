"""The command that fits confidence on the growing text, for the streaming mode ``prefix``.

What it runs is imported when it runs: numpy's and scipy's loading is nobody else's cost.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from rich.text import Text

from gate import terminal_prefix as views
from gate.cli_tuning import NOTHING_CERTIFIED, CollectionArgument
from gate.errors import ConfigError, ReplayGap
from gate.policy import PolicyFile, Promise, find, read
from gate.serving_settings import PrefixSettings, ServingSettings
from gate.terminal import JsonOption, OverwriteOption, PolicyOption, TrustJudgeOption, out, plainly, print_json, status

if TYPE_CHECKING:
    from gate.gateway import Gateway
    from gate.tuning.prefix_tuning import PrefixTuned

Positions = Annotated[str | None, typer.Option(help="Where confidence is asked: sentence, tokens or entropy.")]


def register(app: typer.Typer) -> None:
    """Add the command to an application."""
    app.command(name="fit-prefix")(plainly(fit_prefix))


def fit_prefix(
    collection: CollectionArgument,
    policy: PolicyOption,
    to: Annotated[Path, typer.Option("--out", "-o", help="The calibrator file to write, JSON.")],
    max_error: Annotated[
        float | None,
        typer.Option(min=0.001, max=0.999, help="Of what is sent early, so much may be wrong; the policy's promise."),
    ] = None,
    max_stopped: Annotated[
        float, typer.Option(min=0, max=0.5, help="Of the right answers, so many may be stopped.")
    ] = 0.01,
    positions: Positions = None,
    every: Annotated[int | None, typer.Option(min=1, help="With --positions tokens: every so many.")] = None,
    entropy: Annotated[
        float | None, typer.Option(min=0.001, help="With --positions entropy: above so many nats.")
    ] = None,
    trust_judge: TrustJudgeOption = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fit confidence on the growing text for the streaming mode 'prefix': what may be sent before the verdict.

    Learns from every beginning of every graded draft whether the whole will be right. Chooses from which confidence on
    sentences may be sent: of the questions of which something is sent before the verdict, at most --max-error have a
    wrong answer, with 95 % confidence on questions that fitted nothing. And below which the writing is stopped. Prints
    the lines for the policy, which must be tuned. Where confidence is asked is as the policy says, or at sentence ends.

    Exits 3, and writes nothing, where nothing may be sent early and nothing stopped.
    """
    from gate.tuning.prefix_tuning import record
    from gate.tuning.whole_file import refuse_standing, written_whole

    refuse_standing(to, overwrite=overwrite)
    file = read(find(policy), certificate=False)
    settings = _settings(file, positions, every, entropy)
    promise = file.policy.promise
    if max_error is not None:
        promise = promise.model_copy(update={"max_error": max_error})
    with status("fitting") as say:
        tuned = _tuned(file, collection, settings, promise, max_stopped, trust_judge, say)
    if tuned.useful:
        with written_whole(to, overwrite=overwrite) as written:
            written.write(tuned.fitted.calibrator.dump().encode())
    relative = os.path.relpath(to.resolve(), file.path.parent.resolve())
    if as_json:
        print_json(record(tuned) | {"serving": views.serving_lines(tuned.fitted, relative) if tuned.useful else None})
    else:
        out.print(views.prefix_tuned(tuned))
        if tuned.useful:  # to be copied: no line may be broken
            out.print(
                Text(f"written: {to}. For the policy:\n\n{views.serving_lines(tuned.fitted, relative)}"), soft_wrap=True
            )
    if not tuned.useful:
        raise typer.Exit(NOTHING_CERTIFIED)


def _tuned(
    file: PolicyFile,
    collection: Path,
    settings: PrefixSettings,
    promise: Promise,
    most_stopped: float,
    trust: bool,
    say: Callable[[str], None],
) -> PrefixTuned:
    from gate.calibration.prefix import AskedAt
    from gate.tuning.collection import Collection
    from gate.tuning.prefix_tuning import tune_prefix
    from gate.tuning.tuning_source import labels_of

    with Collection.open(collection) as held:
        bound, labels = labels_of(held, trust=trust)
        gateway, asked_at = _unstreamed(file), AskedAt.of(settings)
        try:
            return tune_prefix(
                gateway, held, asked_at, promise, bound, labels=labels, most_stopped=most_stopped, progress=say
            )
        except ReplayGap as error:
            said = f"{error}: collect with a policy that has this evidence"
            raise ConfigError(said, where=str(collection)) from error


def _settings(file: PolicyFile, positions: str | None, every: int | None, entropy: float | None) -> PrefixSettings:
    """As the policy says, but for what the options say."""
    held = file.policy.serving.prefix or PrefixSettings()
    said = {"positions": positions, "every": every, "entropy": entropy}
    try:
        return PrefixSettings.model_validate(held.model_dump() | {k: v for k, v in said.items() if v is not None})
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"--{first['loc'][0]}: {first['msg']}") from error


def _unstreamed(file: PolicyFile) -> Gateway:
    """The tuned policy without a prefix calibrator, which need not be there yet."""
    from gate.assemble import assemble

    policy = file.policy.model_copy(update={"serving": ServingSettings()})
    return assemble(replace(file, policy=policy))
