"""Networks trained by the compiler's own gradients, on what a classifier with a known answer says."""

import numpy as np
import pytest

from auditor import runtime
from auditor.attacks.transfer.networks import INPUT, LOGITS, network_for
from auditor.attacks.transfer.train import Training, train_surrogate
from auditor.autodiff.compile import LABEL, LOSS, slope, training_model
from tests.zoo import Affine


@pytest.mark.parametrize(
    ("shape", "layout"),
    [((5,), "NCHW"), ((2, 9, 12), "NCHW"), ((12, 9, 3), "NHWC"), ((4, 1, 1), "NCHW"), ((3, 4), "NCHW")],
)
def test_the_slopes_of_weights_agree_with_differences_of_the_loss(shape, layout):
    network = network_for(shape, 3, layout)
    session = runtime.Session(training_model(network.with_open_weights(4), INPUT))
    random = np.random.default_rng(0)
    x, y = random.standard_normal((4, *shape)).astype(np.float32), np.array([0, 2, 1, 2])
    weights = network.start(0)

    def loss(changed):
        return session.run({INPUT: x, LABEL: y, **changed}, [LOSS])[0].astype(float)

    for name, weight in weights.items():
        (g,) = session.run({INPUT: x, LABEL: y, **weights}, [slope(name)])
        way = (g / np.linalg.norm(g)).astype(np.float32)
        up, down = (loss({**weights, name: weight + np.float32(step) * way}) for step in (1e-2, -1e-2))
        assert (up - down) / 2e-2 == pytest.approx(np.linalg.norm(g), rel=2e-2), name


@pytest.mark.parametrize(("shape", "layout"), [((7,), "NCHW"), ((1, 8, 8), "NCHW"), ((8, 8, 3), "NHWC")])
def test_the_file_is_the_network_that_was_trained(shape, layout):
    network = network_for(shape, 4, layout)
    x = np.random.default_rng(1).standard_normal((6, *shape)).astype(np.float32)
    weights = network.start(3)
    (expected,) = runtime.Session(network.with_open_weights(6)).run({INPUT: x, **weights})
    (found,) = runtime.Session(network.file(weights)).run({INPUT: x}, [LOGITS])
    assert found == pytest.approx(expected, abs=1e-5)


def test_large_images_are_halved_until_they_are_small():
    for size in (8, 16, 32, 64, 224):
        weights = network_for((3, size, size), 10, "NCHW").sizes
        assert weights["W1"][1] <= 128 * 8 * 8
        assert "W2" in weights


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("shape", [(6,), (1, 6, 6)])
def test_a_surrogate_learns_what_the_upload_answers(shape, classes):
    upload = Affine(shape, classes)
    upload.b[:] = 0
    x = np.random.default_rng(0).standard_normal((400, *shape)).astype(np.float32)
    trained = train_surrogate(upload, x, seed=0, training=Training(queries=1000, epochs=12))
    assert trained.agreement > 0.5 + 0.5 / classes
    assert trained.queries == 40 + 2 * 360 == upload.forwards
    assert upload.backwards == 0


def test_augmentation_stays_inside_the_domain_and_queries_are_bounded():
    upload = Affine((4,), 3, domain=(0.0, 1.0))  # asserts that it is asked about nothing outside
    x = np.random.default_rng(0).random((30, 4)).astype(np.float32)
    for queries, rounds, doublings in ((300, 9, 3), (300, 2, 2), (30, 9, 0)):
        upload.forwards = 0
        training = Training(queries=queries, rounds=rounds, epochs=1, reach=0.5)
        assert train_surrogate(upload, x, seed=0, training=training).queries == 3 + 27 * 2**doublings
        assert upload.forwards == 3 + 27 * 2**doublings


def test_the_same_seed_gives_the_same_file_and_another_another():
    x = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
    one, again, other = (
        train_surrogate(Affine((5,), 3), x, seed=seed, training=Training(queries=100, epochs=1)).model
        for seed in (0, 0, 1)
    )
    assert one == again
    assert one != other
