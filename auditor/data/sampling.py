"""Which examples are audited."""

import numpy as np
from numpy.typing import NDArray


def sample(size: int, examples: int, seed: int) -> NDArray[np.int64]:
    """A simple random sample without replacement: `examples` positions out of range(size), in random order, (n,) int64.

    All positions when examples >= size. Every example gets one 64-bit number of the counter-based generator Philox
    (Salmon et al. 2011) under `seed` (>= 0), and those with the smallest numbers are taken, the smallest first: it uses
    only raw numbers, whose sequence NumPy keeps between versions. So a sample begins with the smaller ones of the same
    seed, and whatever part of it is done first is a simple random sample too. Every example has the same chance, so
    that the classes are drawn in proportion to their shares and no weights are needed.
    """
    numbers = np.random.Philox(key=seed).random_raw(size)
    return np.argsort(numbers, kind="stable")[:examples].astype(np.int64)
