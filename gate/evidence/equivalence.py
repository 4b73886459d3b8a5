"""Equivalence: ways to tell whether two answers say the same, each over the different wordings alone.

A judge is given wordings (no two equal) and returns a test of two of them, with what asking cost. Those that ask an
endpoint ask once, about all of them. Wordings are asked about in sorted order, so the order of the samples is never
part of a request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal, TypeAlias

from rapidfuzz import fuzz

from gate.effects import Entail, Flow, Generate, entail, generate
from gate.errors import EvidenceUnavailable
from gate.evidence.quantities import quantity, same_quantity
from gate.ports import Round
from gate.prompts import load
from gate.types import Cost, Entailment, Message

Same: TypeAlias = Callable[[int, int], bool]
"""Whether the wordings at two places say the same."""
Variant: TypeAlias = Literal["strict", "no_contradiction", "uq_nlg"]
PROMPT = "group_answers"
_COMPARED = 5_000
"""Characters of a text that likeness looks at: a bound on work, far above most answers."""
_SHOWN = 2_000
"""Characters of an answer that an upstream is shown."""
_REPLY = 512
"""Tokens a list of groups may take: three times what the most answers need."""
_ROUNDING = 1e-3
"""How far the probabilities of a verdict may be from adding up to 1: judges compute in single precision, or less."""
_FENCE = re.compile(r"```(?:json)?\n(.*)\n```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a judge of entailment said about every ordered pair of the different wordings."""

    judge: str
    wordings: tuple[str, ...]
    rows: tuple[tuple[Entailment, ...], ...]
    """``rows[i][j]``: premise i, hypothesis j, each after the question. On the diagonal: certain entailment."""


def likeness(one: str, other: str, least: float = 0.0) -> float:
    """Token-sort similarity of two normalised texts, in [0, 100]; 0 when it is below ``least``."""
    return fuzz.token_sort_ratio(one[:_COMPARED], other[:_COMPARED], score_cutoff=least)


def alike(one: str, other: str, least: float) -> bool:
    """Whether two normalised answers are equal, or alike by ``least`` of 100; a refusal ("") is like refusals alone."""
    return one == other or (bool(one and other) and likeness(one, other, least) >= least)


def by_likeness(forms: Sequence[str], least: float) -> Same:
    return lambda i, j: alike(forms[i], forms[j], least)


def by_quantity(wordings: Sequence[str], forms: Sequence[str], tolerance: float) -> Same:
    """As quantities or dates when both are; by their normalised ``forms`` when neither is; else they differ."""
    read = [quantity(wording) for wording in wordings]

    def same(i: int, j: int) -> bool:
        one, other = read[i], read[j]
        if one is None or other is None:
            return one is other and forms[i] == forms[j]
        return same_quantity(one, other, tolerance)

    return same


def by_entailment(verdicts: Verdicts, variant: Variant) -> Same:
    """By the likeliest verdict in either direction; where two are equally likely, by the one that parts.

    ``strict``: both directions entail (Kuhn et al. 2023). ``no_contradiction``: neither contradicts and not both are
    neutral (the default of Farquhar et al. 2024). ``uq_nlg``: neither contradicts (Lin et al. 2024).
    """
    said = [[_likeliest(verdict) for verdict in row] for row in verdicts.rows]

    def same(i: int, j: int) -> bool:
        both = (said[i][j], said[j][i])
        if variant == "strict":
            return both == ("entailment", "entailment")
        if variant == "no_contradiction":
            return "contradiction" not in both and both != ("neutral", "neutral")
        return "contradiction" not in both

    return same


def _likeliest(verdict: Entailment) -> str:
    return max(("contradiction", "neutral", "entailment"), key=lambda name: float(getattr(verdict, name)))


def judged(judge: str, question: str, wordings: tuple[str, ...], known: Verdicts | None) -> Flow[tuple[Verdicts, Cost]]:
    """The verdicts on all pairs of wordings, each text with the question before it. ``known`` ones are not asked for.

    Raises `EvidenceUnavailable` as `entailments` does.
    """
    if known is not None and (known.judge, known.wordings) == (judge, wordings):
        return known, Cost()
    texts = [encodable(f"{question} {wording}") for wording in wordings]
    places = list(permutations(range(len(texts)), 2))
    rows = [[Entailment(1.0, 0.0, 0.0)] * len(texts) for _ in texts]
    cost = Cost()
    if places:
        verdicts, cost = yield from entailments(judge, tuple((texts[i], texts[j]) for i, j in places))
        for (i, j), verdict in zip(places, verdicts, strict=True):
            rows[i][j] = verdict
    return Verdicts(judge, wordings, tuple(map(tuple, rows))), cost


def entailments(judge: str, pairs: tuple[tuple[str, str], ...]) -> Flow[tuple[tuple[Entailment, ...], Cost]]:
    """A verdict on each pair, in order. What is no verdict is none, rather than one of contradiction.

    Raises `EvidenceUnavailable` when the judge returns fewer or more than it was asked for, or probabilities that are
    not in [0, 1] or do not add up to 1.
    """
    reply = yield from entail(Entail(judge, pairs))
    verdicts = reply.value.verdicts
    if len(verdicts) != len(pairs):
        raise EvidenceUnavailable(
            f"the judge {judge!r} gave {len(verdicts)} verdicts on {len(pairs)} pairs", reply.cost
        )
    if not all(map(_sound, verdicts)):
        raise EvidenceUnavailable(f"the judge {judge!r} gave verdicts that are no probabilities", reply.cost)
    return verdicts, reply.cost


def _sound(verdict: Entailment) -> bool:
    shares = (verdict.entailment, verdict.neutral, verdict.contradiction)
    return all(-_ROUNDING <= p <= 1.0 + _ROUNDING for p in shares) and abs(sum(shares) - 1.0) <= _ROUNDING


def by_model(round_: Round, upstream: str, wordings: Sequence[str]) -> Flow[tuple[Same, Cost]]:
    """By the groups an upstream sorts the numbered wordings into, in one call; none when there are fewer than two.

    Raises `EvidenceUnavailable` when the reply is not such a list of groups.
    """
    if len(wordings) < 2:
        return (lambda i, j: i == j), Cost()
    listed = "\n".join(f"{place}. {_quoted(wording)}" for place, wording in enumerate(wordings, 1))
    prompt = load(PROMPT).render(question=_quoted(round_.question.text), answers=listed)
    reply = yield from generate(
        Generate(upstream, (Message("user", prompt),), temperature=0.0, max_tokens=_REPLY, cap=round_.tokens_left)
    )
    groups = grouping(reply.value.choices[0].text, len(wordings))
    if groups is None:
        raise EvidenceUnavailable("the reply that should group the answers is no list of groups", reply.cost)
    return (lambda i, j: groups[i] == groups[j]), reply.cost


def grouping(text: str, count: int) -> list[int] | None:
    """The group of each of ``count`` answers, from a JSON list of lists of their numbers (from 1).

    None unless every number stands in exactly one group. A fence of backquotes around the list is allowed.
    """
    bare = text.strip()
    fenced = _FENCE.fullmatch(bare)
    try:
        listed = json.loads(fenced[1] if fenced else bare)
    except (ValueError, RecursionError):
        return None
    if not isinstance(listed, list) or not all(isinstance(group, list) and group for group in listed):
        return None
    numbers = [number for group in listed for number in group]
    if not all(type(number) is int for number in numbers) or sorted(numbers) != list(range(1, count + 1)):
        return None
    groups = {number: place for place, group in enumerate(listed) for number in group}
    return [groups[number] for number in range(1, count + 1)]


def encodable(text: str) -> str:
    """The text with half characters, which no wire can carry, replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _quoted(text: str) -> str:
    return json.dumps(encodable(text[:_SHOWN]), ensure_ascii=False)
