"""What escalating is worth: how much of a stronger upstream's lead a policy gets, and at what price.

``performance`` is any number of which more is better, ``cost`` any of which less is (dollars, seconds), both means per
question.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operation:
    """How well something answers, and what that costs."""

    performance: float
    cost: float


def incremental_benefit_per_cost(weak: Operation, policy: Operation, strong: Operation) -> float | None:
    """IBC (Madaan et al. 2023, AutoMix): what the policy gains per cost over the weak upstream, against the strong one.

    0 when it gains as much per cost as always asking the strong one, 13.7 when 1370 % more. State the costs beside it:
    a policy that costs hardly more than the weak upstream makes it as large as you like. None unless the policy and
    the strong upstream both cost more than the weak one and the strong one is better.
    """
    if policy.cost <= weak.cost or strong.cost <= weak.cost or strong.performance <= weak.performance:
        return None
    ours, theirs = ((one.performance - weak.performance) / (one.cost - weak.cost) for one in (policy, strong))
    return ours / theirs - 1.0


def performance_gap_recovered(weak: float, policy: float, strong: float) -> float | None:
    """PGR (Ong et al. 2024, RouteLLM): the share of the strong upstream's lead that the policy has.

    None when the strong one has no lead.
    """
    return (policy - weak) / (strong - weak) if strong > weak else None
