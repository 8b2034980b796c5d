"""Degrees of freedom of a sum of variances, as Welch's t-test counts them."""

import math
from collections.abc import Iterable


def count_freedom(estimated: Iterable[tuple[float, float]], variance: float) -> float:
    """The degrees of freedom of `variance`, a sum of independent parts, by Satterthwaite's
    approximation (Biometrics Bulletin 2, 1946). `estimated` are those of the parts that were
    estimated, each with its degrees of freedom; the others are known. Infinite where all are."""
    squares = sum(part**2 / freedom for part, freedom in estimated)
    return variance**2 / squares if squares else math.inf
