"""The other side of a benchmark, as contenders (see peers.py): run as a script with one of CONTENDERS' names.

PyTorch models are made anew from the seed that the exported files were made from; parameters ask for no gradient.
Runs in the peers' environment.
"""

import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from peers import clocked, serve

_PREPARED: dict[str, Any] = {}


def files(folder: str, name: str, exporter: str) -> tuple[Path, Any]:
    return Path(folder) / f"{name}.{exporter}.onnx", np.load(Path(folder) / f"{name}.npz")


def error_of(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def torch_module(name: str, threads: int) -> Any:
    import torch
    from architectures import make

    torch.set_num_threads(threads)
    return make(name).requires_grad_(False)


def onnx2torch_module(path: Path, threads: int) -> Any:
    import torch

    # It imports torchvision for two detection operators; no build of it fits a CPU build of PyTorch.
    for missing in ("torchvision", "torchvision.ops"):
        sys.modules.setdefault(missing, types.ModuleType(missing))
    sys.modules["torchvision.ops"].roi_align = None  # type: ignore[attr-defined]
    from onnx2torch import convert

    torch.set_num_threads(threads)
    return convert(str(path)).eval().requires_grad_(False)


def gradient_run(module: Any, data: Any, *, compiled: bool = False) -> tuple[float, Callable[[], Any]]:
    import torch

    x = torch.from_numpy(data["x"]).requires_grad_()
    y = torch.from_numpy(data["y"])

    def loss_of(x: Any) -> tuple[Any, Any]:
        logits = module(x)
        return torch.nn.functional.cross_entropy(logits, y, reduction="sum"), logits

    loss_of = torch.compile(loss_of) if compiled else loss_of

    def run() -> Any:
        loss, _ = loss_of(x)
        return torch.autograd.grad(loss, x)[0]

    for _ in range(2):
        g = run()
    return error_of(g.numpy(), data["g"]), run


def prepare_torch(folder: str, name: str, exporter: str, threads: int) -> tuple[float, Callable[[], Any]]:
    return gradient_run(torch_module(name, threads), files(folder, name, exporter)[1])


def prepare_compile(folder: str, name: str, exporter: str, threads: int) -> tuple[float, Callable[[], Any]]:
    return gradient_run(torch_module(name, threads), files(folder, name, exporter)[1], compiled=True)


def prepare_onnx2torch(folder: str, name: str, exporter: str, threads: int) -> tuple[float, Callable[[], Any]]:
    path, data = files(folder, name, "old14")
    return gradient_run(onnx2torch_module(path, threads), data)


def prepare_onnx_ad(folder: str, name: str, exporter: str, threads: int) -> tuple[float, Callable[[], Any]]:
    import onnx
    import onnx_ad
    import onnxruntime as ort

    path, data = files(folder, name, exporter)
    model = onnx_ad.reverse(
        with_loss(onnx.load(path), data["x"], data["y"]), inputs=["x"], outputs=["loss"], layout="onnx"
    )
    (seed,) = [i for i in model.graph.input if i.name != "x"]
    (gradient,) = [o.name for o in model.graph.output if o.name.startswith("adj")]
    for value in (seed, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_value = 1
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ones = np.ones([d.dim_value for d in seed.type.tensor_type.shape.dim], np.float32)
    feeds = {"x": data["x"], seed.name: ones}
    outputs = ["scores", gradient]

    def run() -> Any:
        return session.run(outputs, feeds)[1]

    return error_of(run().reshape(data["g"].shape), data["g"]), run


def with_loss(model: Any, x: np.ndarray, y: np.ndarray) -> Any:
    """The model at the shape of x, and behind its scores the summed cross-entropy at y."""
    import onnx
    from onnx import helper, numpy_helper

    graph = model.graph
    for value, size in ((graph.input[0], x.shape), (graph.output[0], None)):
        shape = value.type.tensor_type.shape
        for i, dim in enumerate(shape.dim):
            if size is not None or i == 0:
                dim.dim_value = x.shape[i]
    del graph.value_info[:]
    classes = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    onehot = -np.eye(classes, dtype=np.float32)[y]
    graph.initializer.append(numpy_helper.from_array(onehot, "minus_onehot"))
    graph.node.extend(
        [
            helper.make_node("LogSoftmax", ["scores"], ["log_p"], axis=1),
            helper.make_node("Mul", ["log_p", "minus_onehot"], ["picked"]),
            helper.make_node("ReduceSum", ["picked"], ["loss"], keepdims=1),
        ]
    )
    graph.output.append(helper.make_tensor_value_info("loss", onnx.TensorProto.FLOAT, [1, 1]))
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def attack_answer(attack: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """Prepare with {folder, name, exporter, threads}, then run with {eps, steps}."""

    def answer(**request: Any) -> dict[str, Any]:
        if "folder" in request:
            _, data = files(request["folder"], request["name"], request["exporter"])
            module = torch_module(request["name"], request["threads"])
            _PREPARED.update(module=module, x=data["x"], y=data["logits"].argmax(1))
            return {}
        module, x, y = (_PREPARED[name] for name in ("module", "x", "y"))
        start = time.perf_counter()
        x_adv = attack(module, x, y, eps=request["eps"], steps=request["steps"])
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "broken": int((predicted(module, x_adv) != y).sum())}

    return answer


def predicted(module: Any, x: Any) -> np.ndarray:
    import torch

    with torch.no_grad():
        return module(torch.as_tensor(x)).argmax(1).numpy()


def foolbox_pgd(module: Any, x: np.ndarray, y: np.ndarray, *, eps: float, steps: int) -> Any:
    import foolbox
    import torch

    model = foolbox.PyTorchModel(module, bounds=(0, 1))
    attack = foolbox.attacks.LinfPGD(rel_stepsize=2.5 / steps, steps=steps)
    return attack(model, torch.from_numpy(x), torch.from_numpy(y), epsilons=eps)[1]


def torchattacks_pgd(module: Any, x: np.ndarray, y: np.ndarray, *, eps: float, steps: int) -> Any:
    import torch
    import torchattacks

    attack = torchattacks.PGD(module, eps=eps, alpha=2.5 * eps / steps, steps=steps)
    return attack(torch.from_numpy(x), torch.from_numpy(y))


def art_pgd(module: Any, x: np.ndarray, y: np.ndarray, *, eps: float, steps: int) -> Any:
    import torch
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    classes = module(torch.from_numpy(x[:1])).shape[1]
    estimator = PyTorchClassifier(
        module, torch.nn.CrossEntropyLoss(), x.shape[1:], classes, clip_values=(0.0, 1.0), device_type="cpu"
    )
    attack = ProjectedGradientDescentPyTorch(
        estimator,
        eps=eps,
        eps_step=2.5 * eps / steps,
        max_iter=steps,
        num_random_init=1,
        batch_size=len(x),
        verbose=False,
    )
    return attack.generate(x, y)


CONTENDERS = {
    "torch": clocked(prepare_torch),
    "torch.compile": clocked(prepare_compile),
    "onnx2torch": clocked(prepare_onnx2torch),
    "onnx-ad": clocked(prepare_onnx_ad),
    "foolbox": attack_answer(foolbox_pgd),
    "torchattacks": attack_answer(torchattacks_pgd),
    "art": attack_answer(art_pgd),
}

if __name__ == "__main__":
    serve(CONTENDERS[sys.argv[1]])
