"""What evidence a policy could buy less of: fewer tiers, fewer samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gate.evidence import PTrueSource, Samples, SamplesSource
from gate.pipeline import Plan
from gate.policy import Policy
from gate.ports import EvidenceSource

_SAMPLES = SamplesSource.name


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
        label = f"{tiers} tier{'s' if tiers > 1 else ''}"
        if _SAMPLES not in named:
            yield Variant(label, cut)
            continue
        bound = any(_asks_about_samples(source, plan) for tier in plan.tiers[:tiers] for source in tier)
        for n in (asked,) if bound else _counts(asked):
            options = {**evidence, _SAMPLES: {**evidence.get(_SAMPLES, {}), "n": n}}
            yield Variant(f"{label}, {n} samples", cut.model_copy(update={"evidence": options}))


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
