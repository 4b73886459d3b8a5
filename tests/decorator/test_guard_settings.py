"""What `guard` is told is checked when it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gate.decorator.guard_settings import UNSET, GuardSettings
from gate.errors import ConfigError, UnknownName


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"samples": "agian"}, "unknown value of 'samples': 'agian'; did you mean 'again'?"),
        ({"samples": None}, "unknown value of 'samples': 'None'"),
        ({"on_abstention": "ignore"}, "unknown value of 'on_abstention': 'ignore'; .* raise, return"),
        ({"streaming": "held"}, "did you mean 'hold'"),
        ({"policy": 3}, "a policy is a shipped one's name, .* and no int"),
        ({"question": 3}, "'question' is a parameter's name, or a function of the same arguments, and no int"),
        ({"remember": -1}, "'remember' is how many decisions are kept, 0 or more, and not -1"),
        ({"remember": True}, "and not True"),
        ({"default": None, "on_abstention": "return"}, "give 'default' or on_abstention='return', not both"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        GuardSettings(**options)


def test_options_take_the_place_of_others() -> None:
    settings = GuardSettings(Path("policy.yaml"), samples="again")
    assert settings.but(samples="none", gather=False) == GuardSettings(Path("policy.yaml"), gather=False)
    assert settings.default is UNSET
    assert repr(UNSET) == "…"
    with pytest.raises(UnknownName, match=r"unknown option of gate.guard 'sample'; did you mean 'samples'"):
        settings.but(sample="again")


def test_what_comes_back_is_said_anew() -> None:
    returning = GuardSettings(on_abstention="return")
    with_default = returning.but(default=None)
    assert (with_default.on_abstention, with_default.default) == ("raise", None)
    again = with_default.but(on_abstention="return")
    assert (again.on_abstention, again.default) == ("return", UNSET)
    assert again.but(remember=1).on_abstention == "return"
    assert with_default.but(remember=1).default is None
