"""Transfer attacks, method by method: a surrogate trained on the model's answers beside one trained on the true labels.

    python benchmarks/transfer.py [--only mnist …] [--methods mi-fgsm …] [--losses margin] [--examples 100] [--seeds 2000] [--threads 1]
                                  [--folder FOLDER] [--follow trained/mnist_wongkolter_0.1]

Both surrogates have the same architecture and training; the first learns from --seeds images without labels and from
points made of them, the second from as many labelled images as the first asked about. Prints per method and surrogate the share of examples on
which the crafted point breaks the model, out of those that the model gets right, the same given that the surrogate was
fooled, and the ratio of both surrogates' success (aim: at least 60 %) with its 95 % interval (bootstrap of the examples). With --follow, a file of models/ without its
ending is followed, and nothing is trained.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from audits import ROOT

from auditor import load_classifier
from auditor.attacks import Random
from auditor.attacks.transfer import METHODS, Crossing, Pool, transfer
from auditor.attacks.transfer.networks import network_for
from auditor.attacks.transfer.train import Fit, Training, train_surrogate
from auditor.classifier import Classifier, OnnxClassifier
from auditor.spec import Loss, Normalisation

Facts = dict[str, float]
CIFAR = Normalisation(mean=(0.4914, 0.4822, 0.4465), std=(0.2471, 0.2435, 0.2616))
LOSSES = {"cross_entropy": Loss.CROSS_ENTROPY, "margin": Loss.MARGIN}
MODELS = {
    "mnist": ("trained/mnist_advertorch_lenet5_clean", "mnist_pool_9000", "mnist_test_1000", 0.2, None),
    "cifar": ("cifar10_resnet/resnet_2b", "cifar10_pool_5000", "cifar10_test_1000", 8 / 255, CIFAR),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--losses", nargs="*", default=list(LOSSES), choices=list(LOSSES))
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where trained surrogates are kept between runs")
    parser.add_argument("--follow", help="a model of the same images to follow, in the place of trained ones")
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
    if options.follow:
        given = load_classifier(
            ROOT / "models" / f"{options.follow}.onnx",
            domain=(0, 1),
            normalisation=normalisation,
            threads=options.threads,
        )
        print(f"{name} through {options.follow}: eps {eps:.3f}, {right.sum()} examples right")
        print(f"{'method':10}{'loss':16}{'broken':>9}{'given fooled':>14}")
        table(options, [given], upload, x[right], y[right], eps, (spare_x, spare_y))
        return
    facts, *files = kept(options, name, lambda: both_trained(upload, spare_x, spare_y, options))
    answers, labelled = (load_classifier(file, domain=None, threads=options.threads) for file in files)
    print(
        f"{name}: eps {eps:.3f}, {right.sum()} examples right, {facts['queries']} queries, agreement "
        f"{facts['agreement']:.2f}, trained in {facts['seconds']:.0f} s"
    )
    print(
        f"{'method':10}{'loss':16}{'trained':>9}{'given fooled':>14}{'labelled':>10}{'given fooled':>14}{'ratio':>7}  interval"
    )
    table(options, [answers, labelled], upload, x[right], y[right], eps, (spare_x, spare_y))


def table(
    options: argparse.Namespace,
    surrogates: Sequence[OnnxClassifier],
    upload: Classifier,
    x: np.ndarray,
    y: np.ndarray,
    eps: float,
    spare: tuple[np.ndarray, np.ndarray],
) -> None:
    """A line per method and loss; of two surrogates also the ratio."""
    for method in options.methods:
        for loss in options.losses:
            cells, success = "", []
            for surrogate in surrogates:
                found = crossing(upload, x, y, surrogate, method, eps, LOSSES[loss], spare)
                success.append(found.found)
                given = np.sum(found.found & found.fooled) / max(np.sum(found.fooled), 1)
                cells += f"{np.mean(found.found):9.0%}{given:14.0%} "
            if len(success) == 2:
                cells += "{:6.2f}  {:.2f} to {:.2f}".format(*ratio(*success))
            print(f"{method:10}{loss:16}{cells}", flush=True)


def ratio(trained: np.ndarray, labelled: np.ndarray) -> tuple[float, float, float]:
    """Of the shares that two surrogates broke, (n,) bool each of the same examples, and its 95 % interval."""
    rows = np.random.default_rng(0).integers(0, len(trained), (5000, len(trained)))
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.sum(trained[rows], axis=1) / np.sum(labelled[rows], axis=1)
        return np.sum(trained) / np.sum(labelled), *np.nanquantile(drawn, [0.025, 0.975])


def read(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images in [0, 1], and labels."""
    with np.load(ROOT / "images" / f"{name}.npz") as stored:
        return (stored["x"] / np.float32(255)).astype(np.float32), stored["y"].astype(np.int64)


def kept(options: argparse.Namespace, name: str, train: Callable[[], tuple[Facts, bytes, bytes]]) -> Any:
    """What `train` gives, from the folder where an earlier run left it there."""
    if options.folder is None:
        return train()
    paths = [options.folder / f"{name}-{options.seeds}.{kind}" for kind in ("json", "answers.onnx", "labelled.onnx")]
    if not all(path.exists() for path in paths):
        options.folder.mkdir(parents=True, exist_ok=True)
        facts, *files = train()
        for path, data in zip(paths, (json.dumps(facts).encode(), *files), strict=True):
            path.write_bytes(data)
    return json.loads(paths[0].read_text()), *(path.read_bytes() for path in paths[1:])


def both_trained(
    upload: Classifier, x: np.ndarray, y: np.ndarray, options: argparse.Namespace
) -> tuple[Facts, bytes, bytes]:
    """A surrogate trained on the model's answers, and one on true labels with as many last passes."""
    started = time.perf_counter()
    trained = train_surrogate(upload, x[: options.seeds], seed=0, threads=options.threads)
    facts = {"queries": trained.queries, "agreement": trained.agreement, "seconds": time.perf_counter() - started}
    network = network_for(upload.shape, upload.classes, "NCHW")
    fit = Fit(network, 0, threads=options.threads)
    fit.epochs(x[: trained.queries], y[: trained.queries], Training().epochs)
    return facts, trained.model, network.file(fit.weights)


def crossing(
    upload: Classifier,
    x: np.ndarray,
    y: np.ndarray,
    surrogate: OnnxClassifier,
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
        layer=surrogate.layer,
        pool=Pool(spare[0][:64], spare[1][:64]),
    )


if __name__ == "__main__":
    main()
