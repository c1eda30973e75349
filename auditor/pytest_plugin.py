"""A pytest plugin: the fixture assert_robust, loaded by its entry point wherever the package is installed."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from auditor.report.schema import Report


@pytest.fixture
def assert_robust(tmp_path: Path) -> "Callable[..., Report]":
    """`auditor.testing.assert_robust`, whose report is in the test's tmp_path unless `out` says otherwise."""
    from auditor.testing import assert_robust

    return partial(assert_robust, out=tmp_path / "audit")
