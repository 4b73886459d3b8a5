"""What evidence a policy could buy less of: fewer tiers, fewer samples, or no more of them than are needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gate.evidence import ClosedBookSource, PTrueSource, Samples, SamplesSource
from gate.pipeline import Plan
from gate.policy import Policy
from gate.ports import EvidenceSource

_SAMPLES = SamplesSource.name
_MANY = 8
"""From so many samples on, stopping early can spare enough to be tried."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A policy with as much evidence as the original, or less, and the signals that can be read off it."""

    label: str
    policy: Policy


def variants(policy: Policy, plan: Plan) -> Iterator[Variant]:
    """The policy itself first. ``plan`` is what it assembles to.

    The number of samples is kept where something else is asked about them: of fewer it would be asked otherwise, and
    what it would say then is not known.
    """
    asked = next((s.n for tier in plan.tiers for s in tier if isinstance(s, SamplesSource)), 0)
    for tiers in range(len(policy.tiers), 0, -1):
        gathered = {source.provides for tier in plan.tiers[:tiers] for source in tier}
        signals = tuple(signal.name for signal in plan.signals if gathered.issuperset(signal.needs))
        named = tuple(name for tier in policy.tiers[:tiers] for name in tier)
        if not signals:
            return
        evidence = {name: options for name, options in policy.evidence.items() if name in named}
        cut = policy.model_copy(update={"tiers": policy.tiers[:tiers], "signals": signals, "evidence": evidence})
        if ClosedBookSource.name not in named:
            cut = _without_memory(cut)
        label = f"{tiers} tier{'s' if tiers > 1 else ''}"
        if _SAMPLES not in named:
            yield Variant(label, cut)
            continue
        if isinstance(evidence.get(_SAMPLES, {}).get("n"), list):  # how many are drawn is how many tiers there are
            listed = evidence[_SAMPLES]["n"][: sum(_SAMPLES in tier for tier in cut.tiers)]
            options = {**evidence, _SAMPLES: {**evidence[_SAMPLES], "n": listed}}
            yield Variant(label, cut.model_copy(update={"evidence": options}))
            continue
        bound = any(_asks_about_samples(source, plan) for tier in plan.tiers[:tiers] for source in tier)
        said = evidence.get(_SAMPLES, {})
        for n in (asked,) if bound else _counts(asked):
            options = {**evidence, _SAMPLES: {**said, "n": n}}
            yield Variant(f"{label}, {n} samples", cut.model_copy(update={"evidence": options}))
        if not bound and asked >= _MANY and said.get("stop", "none") == "none":
            options = {**evidence, _SAMPLES: {**said, "n": asked, "stop": "unlikely_to_change"}}
            yield Variant(f"{label}, up to {asked} samples", cut.model_copy(update={"evidence": options}))


def _without_memory(policy: Policy) -> Policy:
    """The policy hearing passages alone: nobody asks what memory says."""
    if policy.routes.retrieve is None:
        return policy
    retrieve = policy.routes.retrieve.model_copy(update={"arbitrate": False})
    return policy.model_copy(update={"routes": policy.routes.model_copy(update={"retrieve": retrieve})})


def _asks_about_samples(source: EvidenceSource, plan: Plan) -> bool:
    if isinstance(source, PTrueSource):  # shows those that were gathered before it, but does not need them
        return source.brainstormed > 0
    asks = source.uses.embedders or source.uses.judges or any(map(source.calls, plan.profiles.values()))
    return Samples in source.needs and bool(asks)


def _counts(n: int) -> Iterator[int]:
    """n, half of it, half of that, down to two."""
    while n > 2:
        yield n
        n = -(-n // 2)
    yield n
