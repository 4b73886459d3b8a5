"""How far an observed distribution may be from the true one, everywhere at once.

Plain arithmetic, no numerical library.
"""

from __future__ import annotations

import math


def dkw_half_width(n: int, delta: float) -> float:
    """Half the width of the band round the distribution of n values that holds the true one with chance 1 - delta.

    sqrt(ln(2 / delta) / (2 n)), at most 1 (Dvoretzky, Kiefer and Wolfowitz 1956, with the constant of Massart 1990).
    """
    if n < 0 or not 0 < delta < 1:
        raise ValueError(f"need n >= 0 and 0 < delta < 1, got n={n}, delta={delta}")
    return min(1.0, math.sqrt(math.log(2 / delta) / (2 * n))) if n else 1.0
