"""Rules: which action to take at a confidence. To add one: a file here and a line in RULES."""

from gate.rules.threshold import ThresholdRule

RULES = (ThresholdRule,)

__all__ = ["RULES", "ThresholdRule"]
