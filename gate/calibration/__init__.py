"""Calibrators: from signals to one probability. To add one: a file here and a line in CALIBRATORS."""

from gate.calibration.logistic import LogisticCalibrator
from gate.calibration.vote_share import VoteShareCalibrator

CALIBRATORS = (LogisticCalibrator, VoteShareCalibrator)

__all__ = ["CALIBRATORS", "LogisticCalibrator", "VoteShareCalibrator"]
