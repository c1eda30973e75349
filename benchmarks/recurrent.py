"""The gradient of recurrent classifiers by the number of steps, beside ONNX Runtime's own forward and PyTorch's autograd.

    python benchmarks/recurrent.py --peers PYTHON [--steps 28 100 900] [--batch 16] [--hidden 64] [--rounds 5]

One layer over 28 features a step, the last state into ten scores; milliseconds, the best of interleaved rounds, one
thread. `nodes`: of the gradient graph, bodies of Scans included.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from peers import Contender, clocked, serve

FEATURES, CLASSES = 28, 10
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def example(operator: str, steps: int, batch: int, hidden: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Weights, and the input."""
    rng = np.random.default_rng(0)
    rows = GATES[operator] * hidden
    shapes = {"W": (1, rows, FEATURES), "R": (1, rows, hidden), "B": (1, 2 * rows), "V": (hidden, CLASSES)}
    weights = {n: (rng.normal(size=s) / hidden**0.5).astype(np.float32) for n, s in shapes.items()}
    return weights, rng.random((batch, steps, FEATURES), np.float32)


def ours(operator: str, steps: int, batch: int, hidden: int, part: str) -> tuple[float, Callable[[], Any]]:
    """part: forward or gradient. In the place of an error, the number of nodes."""
    import onnx

    from auditor.autodiff import compile as compiler
    from auditor.graph.load import nodes_of
    from auditor.graph.plain import make_plain
    from auditor.graph.upload import read_upload
    from auditor.runtime import Session

    weights, x = example(operator, steps, batch, hidden)
    linear = ", linear_before_reset=1" if operator == "GRU" else ""
    body = f"""f (float[N,{steps},{FEATURES}] x) => (float[N,{CLASSES}] y) {{
        t = Transpose<perm=[1,0,2]>(x) "", h = {operator}<hidden_size={hidden}{linear}>(t, W, R, B)
        s = Squeeze(h, first) y = MatMul(s, V) }}"""
    model = onnx.parser.parse_model(f'<ir_version:8, opset_import:["":17]> {body}')
    arrays = weights | {"first": np.array([0])}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in arrays.items())
    graph = make_plain(read_upload(model.SerializeToString()), batch=batch)
    data = compiler.forward_model(graph) if part == "forward" else compiler.gradient_model(graph)
    numbers = {n: np.zeros(batch, np.int64) for n in (compiler.LABEL, compiler.TARGET, compiler.CHOICE)}
    session = Session(data)
    feeds = {"x": x} if part == "forward" else {"x": x} | numbers
    session.run(feeds)
    return float(len(list(nodes_of(onnx.load_from_string(data).graph)))), lambda: session.run(feeds)


def pytorch(operator: str, steps: int, batch: int, hidden: int, part: str) -> tuple[float, Callable[[], Any]]:
    import torch

    torch.set_num_threads(1)
    layer = getattr(torch.nn, operator)(FEATURES, hidden, batch_first=True).requires_grad_(False)
    last = torch.nn.Linear(hidden, CLASSES).requires_grad_(False)
    x = torch.from_numpy(example(operator, steps, batch, hidden)[1]).requires_grad_()
    y = torch.zeros(batch, dtype=torch.int64)

    def run() -> Any:
        loss = torch.nn.functional.cross_entropy(last(layer(x)[0][:, -1]), y, reduction="sum")
        return torch.autograd.grad(loss, x)[0]

    run()
    return 0.0, run


CONTENDERS = {"ours": ours, "pytorch": pytorch}


def main() -> None:
    if sys.argv[1:] and sys.argv[1] in CONTENDERS:
        serve(clocked(CONTENDERS[sys.argv[1]]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--steps", type=int, nargs="*", default=[28, 100, 900])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{'ms':10} {'steps':>5} {'forward':>9} {'auditor':>9} {'torch':>9} {'nodes':>6}")
    ways = {
        "forward": ("ours", sys.executable),
        "gradient": ("ours", sys.executable),
        "torch": ("pytorch", options.peers),
    }
    for operator in GATES:
        for steps in options.steps:
            racers = {w: Contender(w, python, "recurrent.py", name, threads=1) for w, (name, python) in ways.items()}
            asked = {"operator": operator, "steps": steps, "batch": options.batch, "hidden": options.hidden}
            first = {w: racer.ask(**asked, part=w)["error"] for w, racer in racers.items()}
            best = dict.fromkeys(racers, float("inf"))
            for _ in range(options.rounds):
                for way, racer in racers.items():
                    best[way] = min(best[way], racer.ask()["seconds"] * 1e3)
            row = " ".join(f"{best[w]:9.2f}" for w in ways)
            print(f"{operator:10} {steps:5} {row} {first['gradient']:6.0f}", flush=True)
            for racer in racers.values():
                racer.close()


if __name__ == "__main__":
    main()
