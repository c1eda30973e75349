"""The original AutoAttack, standard version, as a contender (see peers.py), on what onnx2torch makes of an ONNX file.

Runs in the peers' environment.
"""

from typing import Any

import numpy as np
from nearest_point import prepared
from peers import serve

_PREPARED: dict[str, Any] = {}


def answer(**request: Any) -> dict[str, Any]:
    """Prepare with {model, examples, mean, std}, then run with {norm, eps, seed, points}: the points are written to the file
    `points`, x itself where nothing was found. `standing`: which examples stand when clean and after each attack; what one breaks the
    next does not see, as in `run_standard_evaluation`."""
    from autoattack import AutoAttack

    if "model" in request:
        _PREPARED.update(prepared(**request))
        return {}
    module, x, y = (_PREPARED[name] for name in ("module", "x", "y"))
    suite = AutoAttack(
        module, norm=request["norm"], eps=request["eps"], seed=request["seed"], device="cpu", verbose=False
    )
    points, right = x.clone(), module(x).argmax(1) == y
    standing = [right.tolist()]
    for name in list(suite.attacks_to_run):
        suite.attacks_to_run = [name]
        if right.any():
            points[right] = suite.run_standard_evaluation(x[right], y[right], bs=len(x))
        right = module(points).argmax(1) == y
        standing.append(right.tolist())
    np.save(request["points"], points.numpy())
    return {"standing": standing}


if __name__ == "__main__":
    serve(answer)
