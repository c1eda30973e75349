"""The peers of differentiable.py, as contenders (see peers.py): run as a script with one of PEERS' names, in their own
environment.

A request names a file, its input and output, a file of arrays (x, and the cotangent `seed` of the output) and where the
cotangent of the input goes. The file is given its input's shape first, and nothing else is done for anyone.
"""

import sys
from typing import Any

import numpy as np
from peers import serve


def shaped(path: str, name: str, shape: tuple[int, ...]) -> Any:
    import onnx

    model = onnx.load(path)
    given = next(i for i in model.graph.input if i.name == name)
    for dim, size in zip(given.type.tensor_type.shape.dim, shape, strict=True):
        dim.dim_value = size
    del model.graph.value_info[:]
    for output in model.graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def onnx_ad(model: Any, input: str, output: str, x: np.ndarray, seed: np.ndarray) -> np.ndarray:
    import onnxruntime as ort
    from onnx_ad.reverse import reverse

    adjoint = reverse(model, inputs=[input], outputs=[output], layout="onnx")
    session = ort.InferenceSession(adjoint.SerializeToString(), providers=["CPUExecutionProvider"])
    (seeded,) = [i.name for i in session.get_inputs() if i.name != input]
    (found,) = [o.name for o in session.get_outputs() if o.name.startswith("adj")]
    return session.run([found], {input: x, seeded: seed[..., None]})[0].reshape(x.shape)


def onnx2torch(model: Any, input: str, output: str, x: np.ndarray, seed: np.ndarray) -> np.ndarray:
    import types

    import torch

    for missing in ("torchvision", "torchvision.ops"):  # for two detection operators; no build of it fits
        sys.modules.setdefault(missing, types.ModuleType(missing))
    sys.modules["torchvision.ops"].roi_align = None  # type: ignore[attr-defined]
    from onnx2torch import convert

    module = convert(model).eval().requires_grad_(False)
    leaf = torch.from_numpy(x).requires_grad_()
    results = module(leaf)
    results = results if isinstance(results, list | tuple) else [results]
    chosen = results[[o.name for o in model.graph.output].index(output)]
    return torch.autograd.grad(chosen, leaf, torch.from_numpy(seed).to(chosen.dtype))[0].numpy()


def jaxonnxruntime(model: Any, input: str, output: str, x: np.ndarray, seed: np.ndarray) -> np.ndarray:
    import jax
    from jaxonnxruntime.call_onnx import call_onnx_model

    function, weights = call_onnx_model(model, {input: x})
    place = [o.name for o in model.graph.output].index(output)
    value, back = jax.vjp(lambda x: function(weights, {input: x})[place], x)
    return np.asarray(back(seed.astype(value.dtype))[0])


PEERS = {f.__name__: f for f in (onnx_ad, onnx2torch, jaxonnxruntime)}


def main() -> None:
    peer = PEERS[sys.argv[1]]

    def answer(path: str, input: str, output: str, arrays: str, given: str) -> dict[str, Any]:
        with np.load(arrays) as stored:
            x, seed = stored["x"], stored["seed"]
        np.save(given, peer(shaped(path, input, x.shape), input, output, x, seed))
        return {}

    serve(answer)


if __name__ == "__main__":
    main()
