"""Degrees of freedom of a sum of variances, as in Welch's t-test."""

import math
from collections.abc import Iterable


def count_freedom(estimated: Iterable[tuple[float, float]], variance: float) -> float:
    """The degrees of freedom of `variance`, a sum of independent variances, by Satterthwaite's
    approximation (Biometrics Bulletin 2, 1946). `estimated` lists the summands that are estimates,
    with their degrees of freedom; the others are known. Infinite if all are known."""
    squares = sum(part**2 / freedom for part, freedom in estimated)
    return variance**2 / squares if squares else math.inf
