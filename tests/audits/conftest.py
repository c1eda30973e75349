"""Small audits of the demo's classifier, fast enough to be run many times."""

import pytest

from auditor import options
from auditor.request import settle


@pytest.fixture
def requested(demo_model, demo_data, tmp_path):
    """A request for a small audit: two slices of the demo's digits under two norms."""

    def request(out="out", **options_given):
        return options.request(
            {
                "model": demo_model,
                "data": demo_data,
                "out": tmp_path / out,
                "examples": 24,
                "batch_size": 4,
                "threads": 1,
                "norm": ["Linf", "L2"],
                "eps": ["0.02,0.05,8/255,0.1", "0.25,0.5"],
                "attack": ["fgsm", "pgd", "ddn"],
            }
            | options_given
        )

    return request


@pytest.fixture
def subject(requested):
    return settle(requested()).subject
