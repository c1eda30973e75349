"""The same attacks on the CPU and on CUDA; `pytest -m cuda` runs this where a GPU is."""

import numpy as np
import pytest

from auditor import attacks, load_classifier, runtime
from auditor.attacks.catalogue import CATALOGUE
from auditor.errors import DeviceError
from auditor.spec import Loss

pytestmark = pytest.mark.cuda

ATTACKS = {
    "fgsm": lambda *given, **named: attacks.fgsm(*given, eps=named.pop("eps"), **named),
    "pgd": lambda *given, **named: attacks.pgd(*given, steps=10, **named),
    "apgd": lambda *given, **named: attacks.apgd(*given, steps=10, **named),
    "square": lambda *given, **named: attacks.square(*given, queries=20, **named),
}


@pytest.fixture(scope="module")
def cupy():
    try:
        runtime.require("cuda")
    except DeviceError as error:
        pytest.skip(str(error))
    import cupy

    return cupy


@pytest.fixture
def pair(cupy, demo_model):
    """The demo's classifier on the CPU and on CUDA."""
    return [load_classifier(demo_model, domain=(0, 1), batch=16, device=device) for device in ("cpu", "cuda")]


def given(classifier, digits, rows=40):
    x, y = digits
    xp = classifier.xp
    rng = attacks.Random.keyed(xp, 0, "parity", xp.arange(rows))
    return (classifier, xp.asarray(x[:rows]), xp.asarray(y[:rows])), rng


def test_scores_and_gradients_agree_with_the_cpu(pair, digits):
    found = []
    for classifier in pair:
        (_, x, y), _ = given(classifier, digits)
        evaluation = classifier.gradient(x, y, Loss.CROSS_ENTROPY)
        found.append({name: runtime.to_host(value) for name, value in vars(evaluation).items()})
    for name, on_cpu in found[0].items():
        assert np.allclose(found[1][name], on_cpu, rtol=1e-3, atol=1e-4 * np.abs(on_cpu).max()), name


def test_random_numbers_are_the_same_integers(pair, digits):
    one, other = (runtime.to_host(given(classifier, digits)[1].integers(3, 17)) for classifier in pair)
    assert np.array_equal(one, other)


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_break_the_same_examples_but_for_rounding(pair, digits, name, norm):
    eps = {"Linf": 0.1, "L2": 0.5, "L1": 3.0}[norm]
    found = []
    for classifier in pair:
        arguments, rng = given(classifier, digits)
        attempt = ATTACKS[name](*arguments, eps=classifier.xp.full(40, eps), norm=norm, rng=rng)
        found.append(runtime.to_host(attempt.found))
    assert np.mean(found[0] != found[1]) <= 0.1


@pytest.mark.parametrize(
    ("name", "norm"),
    [(n, norm) for n, entry in CATALOGUE.items() if entry.access in ("score", "decision") for norm in entry.norms],
)
def test_attacks_without_gradients_break_the_same_examples_but_for_rounding(pair, digits, name, norm):
    entry, found = CATALOGUE[name], []
    for classifier in pair:
        arguments, rng = given(classifier, digits)
        size = {"Linf": 0.2, "L2": 1.0, "L1": 6.0, "L0": 4.0}[norm] if entry.budget == "fixed" else np.inf
        budget = {"eps" if entry.budget == "fixed" else "ceiling": classifier.xp.full(40, size)}
        attempt = entry.function(*arguments, norm=norm, rng=rng, queries=120, **budget)
        assert isinstance(attempt.x_adv, type(arguments[1]))
        found.append(runtime.to_host(attempt.found))
    assert found[0].any()
    assert np.mean(found[0] != found[1]) <= 0.1


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_larger_than_a_number_travels_to_the_host_inside_an_attack(cupy, pair, digits, name, monkeypatch):
    classifier = pair[1]
    arguments, rng = given(classifier, digits)
    eps = classifier.xp.full(40, 0.1)
    classifier.gradient(*arguments[1:], Loss.MARGIN)
    classifier.logits(arguments[1])
    moved, get = [], cupy.ndarray.get

    def watched(self, *rest, **named):
        if self.size > 1:
            moved.append(self.shape)
        return get(self, *rest, **named)

    monkeypatch.setattr(cupy.ndarray, "get", watched, raising=True)
    monkeypatch.setattr(cupy, "asnumpy", lambda *rest, **named: pytest.fail("an array was copied to the host"))
    ATTACKS[name](*arguments, eps=eps, norm="Linf", rng=rng)
    assert moved == []


def test_the_fingerprint_names_the_gpu_and_its_libraries(cupy):
    assert {"gpu", "cuda", "driver", "cupy"} <= set(runtime.fingerprint("cuda"))
