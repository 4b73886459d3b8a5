"""The report of a policy: `render` makes one HTML file of a `Report`."""

from gate.tuning.report.contents import (
    Example,
    FrontierPoint,
    Report,
    StageSignals,
    Weighed,
    stage_signals,
)
from gate.tuning.report.page import render

__all__ = ["Example", "FrontierPoint", "Report", "StageSignals", "Weighed", "render", "stage_signals"]
