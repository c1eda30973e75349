"""A real audit for all tests of the report."""

import pytest

from tests import finished


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    words = {"attack": ["fgsm", "pgd"], "fail_under": ["Linf:0.05=0.4"], "examples": 40}
    return finished.run(tmp_path_factory.mktemp("ran"), **words)
