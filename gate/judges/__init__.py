"""Judges of entailment: what follows from what. To add one: a file here and a line in JUDGES."""

from typing import Any

JUDGES: tuple[Any, ...] = ()
