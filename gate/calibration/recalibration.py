"""A second, monotone stage on top of the logistic: log-odds in, log-odds out, higher stays higher.

A logistic of many signals can be too sure in one region and too modest in another. With enough labels the bend can be
learned: as beta calibration (Kull, Silva Filho and Flach 2017) or as an isotonic curve (Zadrozny and Elkan 2002).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Finite = Annotated[float, Field(allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Beta(BaseModel):
    """log-odds a ln(p) - b ln(1 - p) + c for the logistic's p; the identity at a = b = 1, c = 0."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["beta"] = "beta"
    a: NotNegative
    b: NotNegative
    c: Finite

    @model_validator(mode="after")
    def _rising(self) -> Beta:
        if self.a + self.b == 0:
            raise ValueError("a and b must not both be 0: every answer would be as likely right")
        return self

    def apply(self, z: float) -> float:
        return self.b * _softplus(z) - self.a * _softplus(-z) + self.c


class Isotonic(BaseModel):
    """Straight lines between knots; beyond the outermost knots p's log-odds rise as the logistic's do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["isotonic"] = "isotonic"
    knots: tuple[tuple[Finite, Finite], ...] = Field(min_length=1)
    """(log-odds of the logistic, log-odds of what was seen), both rising from knot to knot."""

    @model_validator(mode="after")
    def _rising(self) -> Isotonic:
        if any(not (a[0] < b[0] and a[1] < b[1]) for a, b in pairwise(self.knots)):
            raise ValueError("knots must rise, in both numbers")
        return self

    def apply(self, z: float) -> float:
        place = bisect_right(self.knots, z, key=lambda knot: knot[0])
        if place in (0, len(self.knots)):
            x, y = self.knots[min(place, len(self.knots) - 1)]
            return y + (z - x)
        (x0, y0), (x1, y1) = self.knots[place - 1], self.knots[place]
        return y0 + (y1 - y0) * ((z - x0) / (x1 - x0))


Recalibration = Annotated[Beta | Isotonic, Field(discriminator="kind")]


def _softplus(z: float) -> float:
    """ln(1 + exp(z)) without overflow."""
    return max(z, 0.0) + math.log1p(math.exp(-abs(z)))
