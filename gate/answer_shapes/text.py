"""Answers that are plain text."""

from __future__ import annotations

from enum import Enum

from gate.answer_shapes.shape import Read
from gate.types import Generation, Outcome


class Text:
    """``str``: nothing is known of its tokens, nor whether it is whole."""

    name = "text"

    def fits(self, value: object) -> bool:
        return isinstance(value, str) and not isinstance(value, Enum)

    def read(self, value: object) -> Read:
        return Read(Generation(str(value)))

    def written(self, outcome: Outcome, like: object) -> object:
        return outcome.text
