"""What a tool gate has learned, as its JSON file holds it: the calibrator, and a threshold for each promise."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gate.agents.call_readings import BOUNDS
from gate.agents.tool_settings import ToolPolicy
from gate.calibration.logistic import LogisticCalibrator
from gate.errors import ConfigError, StaleCalibrator
from gate.tuning.whole_file import written_whole
from gate.types import Certificate, Confidence, SignalVector, Stage

ANY = Stage("*")
"""The stage of tools that had too few labelled calls for one of their own."""


class ToolPromise(BaseModel):
    """What is promised of the approved calls of some tools, or why nothing is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    segment: str
    """A tool, or a class of them."""
    tools: tuple[str, ...]
    """Those that had labelled calls: of no other is anything known."""
    alpha: Annotated[float, Field(gt=0, lt=1)]
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """On p; None: no threshold could be certified, so none of these calls is approved."""
    certificate: Certificate | None = None
    best_bound: float | None = None
    """The bound of the first test, where none passed."""
    calls: int = Field(ge=0)
    """Labelled calls it was tested on."""
    lacking: tuple[str, ...] = ()
    """Signals that a fair part of those lacked: a call that lacks another is none of the kind it was tested on."""

    @model_validator(mode="after")
    def _whole(self) -> ToolPromise:
        held = self.certificate
        if (self.threshold is None) != (held is None):
            raise ValueError("a threshold needs its certificate, and a certificate its threshold")
        if held is not None and not (held.bound <= held.alpha <= self.alpha and held.errors <= held.answered <= held.n):
            raise ValueError(f"the certificate of {self.segment!r} does not show what is promised")
        return self


class ToolGateFile(BaseModel):
    """A fitted tool gate. Made by `gate.agents.fit_tool_gate`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["tool_gate"] = "tool_gate"
    version: Literal[1] = 1
    policy: str
    """Fingerprint of the tool policy it was fitted for."""
    model: str = ""
    """Whose calls it was fitted on, as the server reports it; "" = not said."""
    date: str
    fitted_on: int
    """Labelled calls the calibrator was fitted on."""
    calibrator: LogisticCalibrator
    promises: tuple[ToolPromise, ...]

    @model_validator(mode="after")
    def _complete(self) -> ToolGateFile:
        if self.calibrator.signals != tuple(BOUNDS) or ANY.key not in self.calibrator.stages:
            raise ValueError("it was fitted for other signals than those that are read")
        return self

    @classmethod
    def load(cls, path: Path | str) -> ToolGateFile:
        """Read one. Raises `ConfigError` naming the file and what is wrong with it."""
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except OSError as error:
            raise ConfigError(f"cannot read the tool gate: {error.strerror}", where=str(path)) from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"not a usable tool gate: {place or 'file'}: {first['msg']}", where=str(path)) from error

    def save(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Raises `ConfigError` where something stands there already, unless ``overwrite``."""
        with written_whole(Path(path), overwrite=overwrite) as out:
            out.write((self.model_dump_json(indent=1, exclude_none=True) + "\n").encode())

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.model_dump_json(exclude_none=True).encode()).hexdigest()[:16]

    def check(self, policy: ToolPolicy) -> None:
        """Raises `StaleCalibrator` where it was fitted for other tools or promises than those of the policy."""
        if self.policy != policy.fingerprint:
            raise StaleCalibrator(
                "the tool gate was fitted for another tool policy: a tool, a schema, a critical argument or a promise "
                "has changed since; fit it again with fit_tool_gate"
            )

    def confidence(self, tool: str, signals: SignalVector) -> Confidence:
        own = Stage(tool)
        return self.calibrator.confidence(signals, own if own.key in self.calibrator.stages else ANY)

    @cached_property
    def by_tool(self) -> Mapping[str, ToolPromise]:
        return {tool: promise for promise in self.promises for tool in promise.tools}
