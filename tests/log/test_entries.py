"""What the log is told: one value, whose defaults are those of a plain request."""

from __future__ import annotations

import dataclasses

import pytest

from gate.log.entries import Entry
from tests.log.decided import record


def test_an_entry_is_a_value_whose_defaults_are_a_plain_request_that_was_answered() -> None:
    made = Entry(record("a"))
    assert made == Entry(record("a"), "chat", "", "", "enforce", False, 200, False, None, False, 0.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.status = 500  # type: ignore[misc]
