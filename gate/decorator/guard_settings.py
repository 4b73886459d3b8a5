"""What `guard` is told, checked once: nothing is loaded here."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from gate.decorator.gate import Gate
from gate.errors import ConfigError, UnknownName
from gate.gateway import Gateway

Samples = Literal["none", "again", "captured"]
OnAbstention = Literal["raise", "return"]
Streaming = Literal["hold", "annotate"]
PolicyLike = str | Path | Gate | Gateway
"""A shipped policy by name, a file by path, or what was loaded of one."""


class Unset:
    """Stands for a default that was not given: None is one that may be."""

    def __repr__(self) -> str:
        return "…"


UNSET = Unset()


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """See `gate.decorator.guard.guard` for what each says."""

    policy: Any = "own"
    """A `PolicyLike`."""
    question: Any = None
    samples: Samples = "none"
    side_by_side: bool = True
    on_abstention: OnAbstention = "raise"
    default: Any = UNSET
    written_by: str = ""
    gather: bool | None = None
    streaming: Streaming = "hold"
    remember: int = 100

    def __post_init__(self) -> None:
        """Raises `ConfigError`, which names what would do."""
        if not isinstance(self.policy, PolicyLike):
            said = "a policy is a shipped one's name, a file's path, a gate.Gate or a Gateway"
            raise ConfigError(f"{said}, and no {type(self.policy).__qualname__}")
        one_of("samples", self.samples, get_args(Samples))
        one_of("on_abstention", self.on_abstention, get_args(OnAbstention))
        one_of("streaming", self.streaming, get_args(Streaming))
        if self.default is not UNSET and self.on_abstention == "return":
            raise ConfigError("give 'default' or on_abstention='return', not both: one of them is what comes back")
        if not (self.question is None or isinstance(self.question, str) or callable(self.question)):
            said = "'question' is a parameter's name, or a function of the same arguments"
            raise ConfigError(f"{said}, and no {type(self.question).__qualname__}")
        check_remember(self.remember)

    def but(self, **options: Any) -> GuardSettings:
        """The same with these in the place of what they were."""
        known = [field.name for field in fields(self)]
        for name in options:
            if name not in known:
                raise UnknownName("option of gate.guard", name, known)
        if "default" in options and options["default"] is not UNSET:  # what comes back is said anew by either
            options = {"on_abstention": "raise", **options}
        elif "on_abstention" in options:
            options = {"default": UNSET, **options}
        return replace(self, **options)


def one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    """Raises `UnknownName` for a value that the option cannot have."""
    if value not in known:
        raise UnknownName(f"value of {option!r}:", str(value), known)


def check_remember(remember: int) -> None:
    """Raises `ConfigError` where it is no number of decisions to keep."""
    if type(remember) is not int or remember < 0:
        raise ConfigError(f"'remember' is how many decisions are kept, 0 or more, and not {remember!r}")
