"""What a shape of answers is: how one is read, and how another answer is written in its likeness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gate.types import Generation, Generations, Outcome, Usage


@dataclass(frozen=True, slots=True)
class Read:
    """What an answer object says."""

    generation: Generation
    others: tuple[Generation, ...] = ()
    """Further choices that came with it: samples, where they were drawn at a temperature."""
    usage: Usage = Usage()
    model: str = ""
    """The model's name, as its server reports it."""

    @property
    def generations(self) -> Generations:
        """As an upstream's reply, with all its choices."""
        return Generations((self.generation, *self.others), self.usage, self.model)

    @property
    def alone(self) -> Generations:
        """The same with the first choice alone."""
        return Generations((self.generation,), self.usage, self.model)


class Shape(Protocol):
    """One kind of object that stands for a model's answer. Told by its looks: no library is imported for it."""

    @property
    def name(self) -> str: ...

    def fits(self, value: object) -> bool: ...

    def read(self, value: object) -> Read:
        """Raises `ValueError`, which says what is missing, where it looks like one and is none."""
        ...

    def written(self, outcome: Outcome, like: object) -> object:
        """The answer of an outcome that was let through, as an object like this one, which is left as it is.

        Raises `ValueError` where the answer cannot be put into it: text that is no JSON of a model's fields, say.
        """
        ...
