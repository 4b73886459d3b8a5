"""Rewriting: asking an upstream for several versions of one text, a line each."""

from __future__ import annotations

import re

from gate.effects import Flow, Generate, generate
from gate.errors import EvidenceUnavailable
from gate.evidence.asking import refused
from gate.ports import Round
from gate.prompts import load
from gate.types import Cost, Generation, Message

LONGEST = 6000
"""Characters of the longest text that is rewritten: beyond it the versions would cost more than they tell."""
_MOST_TOKENS = 4096
_MARK = re.compile(r"^\s*(?:[-*\u2022]\s+|\(?\d{1,2}[.):]\s+)?")


def rewritings(
    round_: Round, prompt: str, text: str, count: int, *, temperature: float, seed: int | None
) -> Flow[tuple[tuple[str, ...], Cost]]:
    """Up to ``count`` versions of a text, none of them twice or the text itself, for one call.

    ``prompt`` is a prompt of ``count`` and ``text``. Raises `EvidenceUnavailable` when fewer than two came, or the text
    is blank or too long.
    """
    if not text.strip():
        raise EvidenceUnavailable("there is no text to rewrite")
    if len(text) > LONGEST:
        raise EvidenceUnavailable(f"a text of {len(text)} characters is too long to be rewritten")
    line = " ".join(text.split())
    asked = Generate(
        upstream=round_.upstream,
        messages=(Message("user", load(prompt).render(count=str(count), text=line)),),
        temperature=temperature,
        max_tokens=min(_MOST_TOKENS, count * (len(line) + 40)),
        cap=round_.tokens_left,
        seed=seed if round_.profile.seed else None,
    )
    reply = yield from generate(asked)
    found = tuple(version for version in lines(reply.value.choices[0]) if version != line)[:count]
    if len(found) < 2:
        raise EvidenceUnavailable(f"the upstream wrote {len(found)} versions of {count}", reply.cost)
    return found, reply.cost


def lines(generation: Generation) -> list[str]:
    """The different lines of a reply without numbers and bullets before them; a last line that was cut off is not one.

    Nothing of a refusal.
    """
    if refused(generation):
        return []
    listed = generation.text.splitlines()
    if generation.finish_reason == "length":
        listed = listed[:-1]
    said = (_MARK.sub("", line).strip() for line in listed)
    return list(dict.fromkeys(line for line in said if any(sign.isalnum() for sign in line)))
