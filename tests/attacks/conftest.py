import numpy as np
import pytest

from auditor.attacks.random import Random


@pytest.fixture
def rng():
    """Streams for the first n examples."""
    return lambda n: Random.keyed(np, 0, "test", np.arange(n))
