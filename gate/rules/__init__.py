"""Rules: which action to take at a confidence. To add one: a file here and a line in RULES."""

from gate.rules.expected_cost import ExpectedCostRule
from gate.rules.threshold import ThresholdRule
from gate.rules.thresholds import Thresholds

RULES: tuple[type[ThresholdRule] | type[ExpectedCostRule], ...] = (ThresholdRule, ExpectedCostRule)
AnyRule = ThresholdRule | ExpectedCostRule

__all__ = ["RULES", "AnyRule", "ExpectedCostRule", "ThresholdRule", "Thresholds"]
