"""Which examples are audited."""

import numpy as np
from numpy.typing import NDArray


def sample(size: int, examples: int, seed: int) -> NDArray[np.int64]:
    """A simple random sample without replacement: `examples` positions out of range(size), rising, (n,) int64.

    All positions when examples >= size. Every example gets one 64-bit number of the counter-based generator Philox
    (Salmon et al. 2011) under `seed` (>= 0), and those with the smallest numbers are taken: it uses only raw numbers,
    whose sequence NumPy keeps between versions, and a larger sample contains the smaller one of the same seed. Every
    example has the same chance, so that the classes are drawn in proportion to their shares and no weights are needed.
    """
    if examples >= size:
        return np.arange(size, dtype=np.int64)
    numbers = np.random.Philox(key=seed).random_raw(size)
    return np.sort(np.argsort(numbers, kind="stable")[:examples]).astype(np.int64)
