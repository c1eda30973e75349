"""A surrogate trained for the audit, on what the upload answers.

Papernot et al. 2017, "Practical black-box attacks against machine learning", algorithm 1: a few examples are labelled
by the upload, a network is trained on them, each example is moved a little in the direction in which the network's
score of its label changes most, the upload labels those too, and so on. Only labels are asked for. Adam as in Kingma &
Ba 2015, algorithm 1.
"""

from dataclasses import dataclass

import numpy as np

from auditor import runtime
from auditor.attacks.random import Random
from auditor.attacks.transfer.networks import INPUT, Network, network_for
from auditor.autodiff.compile import LABEL, slope, training_model
from auditor.classifier import Classifier, load_classifier
from auditor.data.domain import bounds
from auditor.spec import Layout, Loss

BATCH = 64


@dataclass(frozen=True)
class Training:
    """queries: labels that may be asked for at most; rounds: of augmentation at most, each of which doubles the examples.
    between, epochs: passes over the examples before each round, and in the end; reach: how far augmentation moves a
    value, as a share of the domain's width; rate: of Adam."""

    queries: int = 4000
    rounds: int = 3
    between: int = 5
    epochs: int = 20
    reach: float = 0.1
    rate: float = 1e-3


@dataclass(frozen=True)
class Trained:
    """model: an ONNX file in the domain's units. queries: labels asked of the upload. agreement: the share of examples
    held back from training to which both give the same label."""

    model: bytes
    queries: int
    agreement: float


def train_surrogate(
    upload: Classifier,
    x: np.ndarray,
    *,
    seed: int,
    layout: Layout = "NCHW",
    threads: int = 1,
    training: Training = Training(),
) -> Trained:
    """x: (n, *shape) float32, examples that are not attacked, 2 <= n <= training.queries; a tenth of them is held back.

    The same upload, examples and seed give the same file.
    """
    network = network_for(upload.shape, upload.classes, layout)
    held, x = x[: max(len(x) // 10, 1)], x[max(len(x) // 10, 1) :]
    expected, y = _asked(upload, held), _asked(upload, x)
    fit = Fit(network, seed, training.rate, threads)
    for _ in range(training.rounds):
        if len(held) + 2 * len(x) > training.queries:
            break
        fit.epochs(x, y, training.between)
        moved = _augmented(fit.classifier(), x, y, upload.domain, training.reach)
        x, y = np.concatenate([x, moved]), np.concatenate([y, _asked(upload, moved)])
    fit.epochs(x, y, training.epochs)
    agreement = float(np.mean(_asked(fit.classifier(), held) == expected))
    return Trained(network.file(fit.weights), len(held) + len(x), agreement)


def _asked(classifier: Classifier, x: np.ndarray) -> np.ndarray:
    """The labels that a classifier gives. (n,) int64"""
    return np.argmax(runtime.to_host(classifier.logits(classifier.xp.asarray(x))), axis=1)


def _augmented(
    surrogate: Classifier, x: np.ndarray, y: np.ndarray, domain: tuple[float, float] | None, reach: float
) -> np.ndarray:
    """x + step * sign of the gradient of the label's score, inside the domain."""
    width = 1.0 if domain is None else domain[1] - domain[0]
    g = surrogate.gradient(x, y, Loss.LOGIT, target=y).g
    return np.clip(x + np.float32(reach * width) * np.sign(g), *bounds(domain))


class Fit:
    """A network's weights on their way down the cross-entropy, by Adam."""

    def __init__(self, network: Network, seed: int, rate: float = 1e-3, threads: int = 1) -> None:
        self.network, self._threads = network, threads
        model = training_model(network.with_open_weights(BATCH), INPUT)
        self._session = runtime.Session(model, threads=threads)
        self._rng, self._rate = Random.keyed(np, seed, "surrogate's order", np.zeros(1, np.int64)), rate
        self.weights = network.start(seed)
        self._mean = {name: np.zeros_like(w) for name, w in self.weights.items()}
        self._square = {name: np.zeros_like(w) for name, w in self.weights.items()}
        self._steps = self._epochs = 0

    def epochs(self, x: np.ndarray, y: np.ndarray, count: int) -> None:
        """Go `count` times through the examples in random order, in whole batches."""
        for _ in range(count):
            order = np.argsort(self._rng.uniform(self._epochs, (len(x),))[0], kind="stable")
            self._epochs += 1
            order = np.resize(order, -(-len(x) // BATCH) * BATCH)
            for rows in order.reshape(-1, BATCH):
                self._step(x[rows], y[rows])

    def classifier(self) -> Classifier:
        """The network as it is now."""
        data = self.network.file(self.weights)
        return load_classifier(data, domain=None, batch=BATCH, shape=self.network.shape, threads=self._threads)

    def _step(self, x: np.ndarray, y: np.ndarray) -> None:
        names = list(self.weights)
        slopes = self._session.run({INPUT: x, LABEL: y, **self.weights}, [slope(name) for name in names])
        self._steps += 1
        bias = np.sqrt(1 - 0.999**self._steps) / (1 - 0.9**self._steps)
        for name, g in zip(names, slopes, strict=True):
            self._mean[name] += np.float32(0.1) * (g - self._mean[name])
            self._square[name] += np.float32(0.001) * (g * g - self._square[name])
            step = np.float32(self._rate * bias) * self._mean[name] / (np.sqrt(self._square[name]) + np.float32(1e-8))
            self.weights[name] = self.weights[name] - step
