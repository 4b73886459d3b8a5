"""Judges of entailment: what follows from what. To add one: a file here and a line in JUDGES."""

from gate.judges.onnx_cross_encoder import OnnxCrossEncoder

JUDGES = (OnnxCrossEncoder,)

__all__ = ["JUDGES", "OnnxCrossEncoder"]
