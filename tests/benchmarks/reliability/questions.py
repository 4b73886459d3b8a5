"""Questions whose answers can be checked: each has an id, and its right answer is a code made of it.

The model knows most codes. Of the others (`hard`) it makes one of three wrong ones up, another each time, so that its
samples seldom agree. Whoever knows the id knows all four codes: so an answer is right, wrong, or another question's.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass

HARD = 0.3
WITHHELD = "I am not sure enough."
"""What is said in place of an answer that is not sure enough."""
WRONG_CODES, CODE_LENGTH = 3, 10
TENANTS = ("alpha", "beta")
TIGHT, TIGHT_REQUESTS = "gamma", 6
"""A tenant who asks for far more than its key allows, and how many requests a minute that is."""
_ASKED = re.compile(r"item (\w+) of (\w+)")


@dataclass(frozen=True, slots=True)
class Item:
    """What is asked for: something of a tenant's."""

    id: str
    tenant: str

    @property
    def question(self) -> str:
        return f"What is the code of item {self.id} of {self.tenant}? Say only the code."

    @property
    def right(self) -> str:
        return self._code("right")

    @property
    def wrong(self) -> tuple[str, ...]:
        return tuple(self._code(f"wrong {place}") for place in range(WRONG_CODES))

    @property
    def hard(self) -> bool:
        return int(hashlib.sha256(f"{self.id} known".encode()).hexdigest()[:8], 16) < HARD * 2**32

    def said(self, rng: random.Random, *, confident: bool = False) -> str:
        """What the model says. ``confident``: of what it does not know always the same."""
        if not self.hard:
            return self.right
        return self.wrong[0 if confident else rng.randrange(WRONG_CODES)]

    def _code(self, kind: str) -> str:
        digits = hashlib.sha256(f"{self.id} {self.tenant} {kind}".encode()).digest()[:CODE_LENGTH]
        return "".join(chr(ord("a") + digit % 26) for digit in digits)


def asked_in(text: str) -> Item | None:
    """The item that a question is about."""
    found = _ASKED.search(text)
    return None if found is None else Item(found[1], found[2])
