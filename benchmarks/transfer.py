"""Transfer attacks, method by method: a surrogate trained on the model's answers beside one trained on the true labels.

    python benchmarks/transfer.py [--only mnist …] [--methods mi-fgsm …] [--examples 100] [--seeds 2000] [--threads 1]

Both surrogates have the same architecture and training; the first learns from --seeds images without labels and from
points made of them, the second from as many labelled images as the first asked about. Prints per method and surrogate the share of examples on
which the crafted point breaks the model, out of those that the model gets right, the same given that the surrogate was
fooled, and the ratio of both surrogates' success (aim: at least 60 %).
"""

import argparse
import time

import numpy as np
from audits import ROOT

from auditor import load_classifier
from auditor.attacks import Random
from auditor.attacks.transfer import METHODS, Crossing, Pool, transfer
from auditor.attacks.transfer.networks import network_for
from auditor.attacks.transfer.train import Fit, Training, train_surrogate
from auditor.classifier import Classifier
from auditor.spec import Loss, Normalisation

CIFAR = Normalisation(mean=(0.4914, 0.4822, 0.4465), std=(0.2471, 0.2435, 0.2616))
MODELS = {
    "mnist": ("trained/mnist_advertorch_lenet5_clean", "mnist_pool_9000", "mnist_test_1000", 0.2, None),
    "cifar": ("cifar10_resnet/resnet_2b", "cifar10_pool_5000", "cifar10_test_1000", 8 / 255, CIFAR),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    for name in options.only:
        compare(name, options)


def compare(name: str, options: argparse.Namespace) -> None:
    """Train both surrogates and print a line per method and loss."""
    model, pool, images, eps, normalisation = MODELS[name]
    path = ROOT / "models" / f"{model}.onnx"
    upload = load_classifier(path, domain=(0, 1), normalisation=normalisation, threads=options.threads)
    x, y = read(images)
    x, y = x[: options.examples], y[: options.examples]
    right = np.argmax(upload.logits(x), axis=1) == y
    spare_x, spare_y = read(pool)
    order = np.random.default_rng(0).permutation(len(spare_x))
    spare_x, spare_y = spare_x[order], spare_y[order]
    started = time.perf_counter()
    trained = train_surrogate(upload, spare_x[: options.seeds], seed=0, threads=options.threads)
    seconds = time.perf_counter() - started
    answers = load_classifier(trained.model, domain=None, threads=options.threads)
    labelled = fitted(upload, spare_x[: trained.queries], spare_y[: trained.queries], options.threads)
    print(
        f"{name}: eps {eps:.3f}, {right.sum()} examples right, {trained.queries} queries, agreement "
        f"{trained.agreement:.2f}, trained in {seconds:.0f} s"
    )
    print(
        f"{'method':10}{'loss':16}{'trained':>9}{'given fooled':>14}{'labelled':>10}{'given fooled':>14}{'ratio':>7}"
    )
    for method in options.methods:
        for loss in (Loss.CROSS_ENTROPY, Loss.MARGIN):
            cells, success = "", []
            for surrogate in (answers, labelled):
                found = crossing(upload, x[right], y[right], surrogate, method, eps, loss, (spare_x, spare_y))
                success.append(float(np.mean(found.found)))
                given = np.sum(found.found & found.fooled) / max(np.sum(found.fooled), 1)
                cells += f"{success[-1]:9.0%}{given:14.0%} "
            ratio = success[0] / success[1] if success[1] else float("nan")
            print(f"{method:10}{loss.name.lower():16}{cells}{ratio:6.2f}", flush=True)


def read(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images in [0, 1], and labels."""
    with np.load(ROOT / "images" / f"{name}.npz") as stored:
        return (stored["x"] / np.float32(255)).astype(np.float32), stored["y"].astype(np.int64)


def fitted(upload: Classifier, x: np.ndarray, y: np.ndarray, threads: int) -> Classifier:
    """The surrogates' network, trained on true labels with as many last passes."""
    fit = Fit(network_for(upload.shape, upload.classes, "NCHW"), 0, threads=threads)
    fit.epochs(x, y, Training().epochs)
    return fit.classifier()


def crossing(
    upload: Classifier,
    x: np.ndarray,
    y: np.ndarray,
    surrogate: Classifier,
    method: str,
    eps: float,
    loss: Loss,
    spare: tuple[np.ndarray, np.ndarray],
) -> Crossing:
    """One method in L-infinity."""
    return transfer(
        upload,
        x,
        y,
        surrogate=surrogate,
        method=METHODS[method],
        eps=np.full(len(x), eps),
        norm="Linf",
        rng=Random.keyed(np, 0, method, np.arange(len(x))),
        loss=loss,
        pool=Pool(spare[0][:64], spare[1][:64]),
    )


if __name__ == "__main__":
    main()
