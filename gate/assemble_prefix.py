"""From what a policy says of the streaming mode ``prefix`` to its calibrator."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from gate.calibration.prefix import PrefixCalibrator
from gate.errors import ConfigError, StaleCalibrator, UnknownName
from gate.pipeline import stages
from gate.policy import PolicyFile
from gate.serving_settings import PrefixSettings

log = logging.getLogger("gate.assemble")
_PLACE = ("serving", "prefix")


def prefix_calibrator(file: PolicyFile, running: Mapping[str, str] | None = None) -> PrefixCalibrator | None:
    """The calibrator of the growing text, where the policy streams in the mode ``prefix``; None where it does not.

    ``running`` are fingerprints of what runs. Raises `ConfigError` with the line: where the file is not there or cannot
    be used, was fitted at other positions or for other drafts, or with another model under the same name.
    """
    serving = file.policy.serving
    if serving.streaming != "prefix" or serving.prefix is None:
        return None
    settings, where = serving.prefix, file.where(*_PLACE, "calibrator")
    path = file.path.parent / settings.calibrator
    if not path.is_file():
        beside = (found.name for found in file.path.parent.glob("*.prefix.json"))
        raise UnknownName("prefix calibrator", settings.calibrator, beside, where=where)
    try:
        made = PrefixCalibrator.load(path)
        made.check(settings, rounds_of(file))
        _check_models(made, running or {})
    except ConfigError as error:
        kind = StaleCalibrator if isinstance(error, StaleCalibrator) else ConfigError
        raise kind(str(error), where=where) from error
    _warn(file, made, settings, running or {})
    return made


def rounds_of(file: PolicyFile) -> tuple[str, ...]:
    """The rounds whose drafts a client may see growing."""
    policy = file.policy
    rungs = policy.ladder if policy.routes.escalate else policy.ladder[:1]
    return tuple(stage.round_key for stage in stages(rungs, passages=policy.routes.retrieve is not None, tiers=1))


def _check_models(made: PrefixCalibrator, running: Mapping[str, str]) -> None:
    for name, fingerprint in made.fitted_on.items():
        if name.startswith("upstream:") and running.get(name, fingerprint) != fingerprint:
            upstream = name.removeprefix("upstream:")
            raise StaleCalibrator(f"the prefix calibrator was fitted on drafts of another {upstream!r}: fit it again")


def _warn(file: PolicyFile, made: PrefixCalibrator, settings: PrefixSettings, running: Mapping[str, str]) -> None:
    name = file.policy.name
    for key, fingerprint in made.fitted_on.items():
        if running.get(key, fingerprint) != fingerprint:
            log.warning("the prefix calibrator of the policy %r was fitted with another %s", name, key)
    unknown = [key for key in rounds_of(file) if key not in made.rounds]
    if unknown:
        log.warning("drafts of %s are held back whole: the prefix calibrator knows none", ", ".join(unknown))
    shown = made.shown
    if shown is None or settings.release_at < shown.release_at or settings.stop_below > shown.stop_below:
        log.warning(
            "the thresholds under 'serving: prefix' of the policy %r are bolder than what was shown to hold", name
        )
