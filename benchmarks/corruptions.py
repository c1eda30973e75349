"""Accuracy under every threat beside the norms, of models with known clean accuracy.

    python benchmarks/corruptions.py [--only MODEL …] [--also corruptions …] [--examples 200] [--threads 1]

Prints per model and threat the accuracy at each setting (a severity, an eps …), over all examples, the worst case per
example, and over all corruptions the mean error. Nothing is trained; the frames are thrown away.
"""

import argparse
import tempfile
import time
from pathlib import Path

from audits import ROOT, normalisation

from auditor.audits.checkpoints import Checkpoints, Folder
from auditor.audits.other_figures import other_figures
from auditor.audits.other_sections import OtherFigures
from auditor.audits.others import load_results, other_items, run_others
from auditor.audits.prepare import prepare
from auditor.audits.run import Engine
from auditor.request import Request, settle

MODELS = {
    "mnist-lenet": ("trained/mnist_advertorch_lenet5_clean", "mnist"),
    "mnist-adversarial": ("trained/mnist_fastadv_fgsm", "mnist"),
    "cifar-resnet": ("cifar10_resnet/resnet_2b", "cifar10"),
    "cifar-adversarial": ("trained/cifar_sdp_cnn_a_adv", "cifar10"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--also", nargs="*", default=["corruptions"])
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    for name in options.only:
        measure(name, options)


def measure(name: str, options: argparse.Namespace) -> None:
    """Run one model and print its table."""
    model, images = MODELS[name]
    request = Request(
        model=ROOT / "models" / f"{model}.onnx",
        data=ROOT / "images" / f"{images}_test_1000.npz",
        out=Path(tempfile.gettempdir()),
        threat="mnist" if images == "mnist" else "image-8bit",
        preprocessing=normalisation(Path(model).parts[0]),
        settings={"examples": options.examples, "threads": options.threads, "also": tuple(options.also)},
    )
    subject = settle(request).subject
    prepared = prepare(subject)
    items = other_items(prepared)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Folder(Path(folder)))
        for _ in run_others(Engine(subject, prepared), items, checkpoints):
            pass
        results = load_results(checkpoints, items)
    seconds = time.perf_counter() - started
    print(f"\n{name}: clean {prepared.right.mean():.1%} of {len(prepared.index)}, {seconds:.0f} s")
    for figures in other_figures(prepared, subject.others, items, results):
        print(row(figures))


def row(figures: OtherFigures) -> str:
    """One threat: its worst case, its mean, each setting."""
    mean = "      " if figures.mean_accuracy is None else f"{figures.mean_accuracy:6.1%}"
    settings = " ".join(f"{setting.accuracy:6.1%}" for setting in figures.settings)
    error = "" if figures.mean_error is None else f" mean corruption error, unnormalised: {figures.mean_error:.1%}"
    return f"{figures.threat['name']:<30} worst {figures.accuracy:6.1%} mean {mean}   {settings}{error}"


if __name__ == "__main__":
    main()
