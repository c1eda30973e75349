"""What attacks leave standing on a net with known answers, alone or one after another, and what each passes.

    python benchmarks/alone.py MODEL NORM EPS,EPS,… SEQUENCE… [--examples 50] [--threads 1]
    python benchmarks/alone.py cifar_sdp_cnn_a_adv L0 2,5,10,20 sigma-zero sigma-zero+sparse-rs:queries=500:warm

MODEL: a file of models/trained, without its ending. A sequence is attacks joined by +, each with its parameters after
colons; `warm` begins at the nearest known point. Prints the share of all examples that is right and stands at each eps,
passes per example that is right when clean, and seconds.
"""

import argparse
import time

import numpy as np
from audits import ROOT

from auditor import load_classifier
from auditor.attacks.cascade import run_stage
from auditor.attacks.catalogue import CATALOGUE
from auditor.attacks.grid import Grid
from auditor.attacks.progress import Examples, Progress
from auditor.attacks.space import Space
from auditor.attacks.stage import Stage
from auditor.attacks.verify import Verifier
from auditor.graph.upload import read_upload
from auditor.spec import Loss, Norm, Threat

SPACE = Space((0.0, 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("norm")
    parser.add_argument("eps")
    parser.add_argument("sequences", nargs="+")
    parser.add_argument("--examples", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model = (ROOT / "models" / "trained" / f"{options.model}.onnx").read_bytes()
    images = np.load(ROOT / "images" / f"{options.model.partition('_')[0].replace('cifar', 'cifar10')}_test_1000.npz")
    x = (images["x"][: options.examples] / np.float32(255)).astype(np.float32)
    y = images["y"][: options.examples].astype(np.int64)
    classifier = load_classifier(model, domain=(0, 1), batch=min(len(x), 32), threads=options.threads)
    right = classifier.logits(x).argmax(axis=1) == y
    examples = Examples(np.arange(len(x)), x, y, right)
    threat = Threat(norm=options.norm, eps=tuple(options.eps.split(",")))
    print(
        f"{options.model}, {len(x)} examples\n{'':50}" + "".join(f"{eps:>8}" for eps in threat.eps) + "  passes    s"
    )
    for sequence in options.sequences:
        started = time.perf_counter()
        progress = Progress.start(examples, [options.norm])
        for text in sequence.split("+"):
            progress = run_stage(
                stage(text, options.norm),
                examples,
                progress,
                classifier=classifier,
                verifier=Verifier(read_upload(model), domain=(0, 1)),
                grid=Grid(threat, SPACE),
                space=SPACE,
                seed=options.seed,
            )
        position = Grid(threat, SPACE).critical(progress.best[options.norm].distance)
        standing = [np.mean(right & (position >= level)) for level in range(len(threat.eps))]
        passes = (progress.forwards + progress.backwards)[right].mean()
        shares = "".join(f"{share:8.1%}" for share in standing)
        print(f"{sequence:50}{shares}{passes:8.0f}{time.perf_counter() - started:5.0f}", flush=True)


def stage(text: str, norm: Norm) -> Stage:
    """`ATTACK[:PARAMETER=NUMBER or LOSS…][:warm]`"""
    name, *options = text.split(":")
    named = dict(option.split("=") for option in options if option != "warm")
    given = {key: Loss[value] if key == "loss" else _number(value) for key, value in named.items()}
    if CATALOGUE[name].spatial:
        given["layout"] = "NCHW"
    return Stage(text, name, norm, given, warm="warm" in options)


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdigit() else float(text)


if __name__ == "__main__":
    main()
