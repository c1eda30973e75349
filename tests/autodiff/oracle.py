"""Does a rule tell the truth? Its cotangent against central differences, and ONNX Runtime against both.

The primal is evaluated in float64 by the standard's reference implementation, which knows nothing of our rules.
Cases come from ONNX's own node tests (`cases`) or are written down in a line (`case`); `check` takes either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from auditor.autodiff import rules
from auditor.autodiff.compile import is_spelt_out, spell_out
from auditor.autodiff.gradient import backward
from auditor.graph.build import Builder
from auditor.graph.rewriting import rewritten, take_apart
from tests.autodiff.reference import CORRECTED

OPSET = 26
IR_VERSION = 10
STEP = 1e-6
FLOATS = (np.float32, np.float64)
DRAWS = 20
WITH_FLOAT32_BODY = ("MeanVarianceNormalization",)


@dataclass(frozen=True)
class Case:
    """Nodes with the arrays they are fed.

    wrt: names of the inputs to differentiate; the others become constants. By default every float input that
    some node has a rule for.
    """

    name: str
    nodes: tuple[onnx.NodeProto, ...]
    inputs: Mapping[str, np.ndarray]
    outputs: tuple[str, ...]
    wrt: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return self.name


def case(
    operator: str, *inputs: Any, wrt: Sequence[int] = (), outputs: int = 1, name: str = "", **attributes: Any
) -> Case:
    """One node on `inputs` (arrays; None leaves an optional one out); `wrt` are positions."""
    arrays = {f"x{i}": np.asarray(a) for i, a in enumerate(inputs) if a is not None}
    arguments = [f"x{i}" if a is not None else "" for i, a in enumerate(inputs)]
    results = tuple(f"y{i}" for i in range(outputs))
    node = onnx.helper.make_node(operator, arguments, results, **attributes)
    shown = ",".join(f"{k}={v}" for k, v in attributes.items())
    label = name or f"{operator}({','.join(str(a.shape) for a in arrays.values())},{shown})"
    return Case(label, (node,), arrays, results, tuple(f"x{i}" for i in wrt))


def cases(*operators: str, without: Sequence[str] = (), outputs: int | None = None) -> list[Any]:
    """ONNX's own float-valued node tests of `operators` as pytest parameters, at the working opset.

    without: parts of names of tests that cannot serve, each to be explained by a comment at the call.
    outputs: seed only so many of the node's outputs.
    """
    found = []
    for operator in operators:
        own = [c for c in _standard_cases(operator) if not any(part in c.name for part in without)]
        if not own:
            raise LookupError(f"no float-valued node test of {operator}: write one down with `case`")
        found += [replace(c, outputs=c.outputs[:outputs]) for c in own]
    return [pytest.param(c, id=c.name) for c in found]


@cache
def _all_standard_cases() -> list[Any]:
    from onnx.backend.test.case.node import collect_testcases

    with catch_warnings():
        simplefilter("ignore")
        return list(collect_testcases(None))


@cache
def _standard_cases(operator: str) -> list[Case]:
    found = []
    for test in _all_standard_cases():
        (node, *more), (arrays, _) = test.model.graph.node, test.data_sets[0]
        if (
            more
            or node.op_type != operator
            or node.domain
            or not all(isinstance(a, np.ndarray | np.generic) for a in arrays)
        ):
            continue
        inputs = {i.name: np.asarray(a) for i, a in zip(test.model.graph.input, arrays, strict=True)}
        if any(a.dtype in FLOATS for a in inputs.values()):
            found.append(Case(test.name, (node,), inputs, tuple(o for o in node.output if o)))
    return found


def _precision(case: Case) -> type:
    """float32 where an operator, or its function body, knows no float64."""
    schemas = [onnx.defs.get_schema(node.op_type, OPSET) for node in case.nodes]
    double = all(any("tensor(double)" in t for t in schema.inputs[0].types) for schema in schemas)
    return np.float64 if double and not any(s.name in WITH_FLOAT32_BODY for s in schemas) else np.float32


def _differentiable(case: Case) -> tuple[str, ...]:
    """The float inputs that some node has a rule for."""
    uses = {(name, node.op_type, i) for node in case.nodes for i, name in enumerate(node.input)}
    return tuple(
        name
        for name, a in case.inputs.items()
        if a.dtype in FLOATS
        and any(n == name and (rules.rule_for(operator, i) or not has_rule(operator)) for n, operator, i in uses)
    )


def has_rule(operator: str) -> bool:
    """Whether any input has; else the operator is differentiated as the others that it is spelt out in."""
    return operator in rules.operators()


def check(case: Case, *, rtol: float = 1e-6, ort: bool = True, ort_rtol: float = 1e-4, seed: int = 0) -> None:
    """Assert that every cotangent of `case` is right.

    Once with all differentiable inputs live, once each alone with the others constant (rules may treat
    constants apart). rtol: against central differences; ort_rtol: of ONNX Runtime in float32 against the
    reference in float64, by the largest entry; ort=False where ONNX Runtime has no kernel for the operator.
    """
    wrt = case.wrt or _differentiable(case)
    assert wrt, f"{case.name}: nothing to differentiate"
    alone = [(name,) for name in wrt] if len(wrt) > 1 else []
    for names in [wrt, *alone]:
        _check(replace(case, wrt=names), rtol, ort, ort_rtol, np.random.default_rng(seed))


def _check(case: Case, rtol: float, ort: bool, ort_rtol: float, rng: np.random.Generator) -> None:
    case, g, slopes, directions = _smooth_point(case, rng)
    precise = gradient_model(case, _precision(case))
    if _precision(case) is np.float32:
        rtol = max(rtol, 1e-4)
    feeds = {n: case.inputs[n] for n in case.wrt} | g
    cotangents = evaluate(precise, {n: _cast(a, _precision(case)) for n, a in feeds.items()})
    for name, cotangent in zip(case.wrt, cotangents, strict=True):
        v, slope = directions[name], slopes[name]
        scale = max(abs(slope), np.abs(cotangent).max(initial=0) * np.linalg.norm(v), 1e-3)
        got = float(np.sum(cotangent * v))
        assert abs(got - slope) <= rtol * scale, f"{case.name} wrt {name}: {got} against differences {slope}"
    if ort:
        single = gradient_model(case, np.float32)
        session = onnxruntime.InferenceSession(single.SerializeToString(), providers=["CPUExecutionProvider"])
        got32 = session.run(None, {n: _cast(a, np.float32) for n, a in feeds.items()})
        for name, a, b in zip(case.wrt, got32, cotangents, strict=True):
            np.testing.assert_allclose(
                a,
                b,
                rtol=ort_rtol,
                atol=ort_rtol * max(1e-6, np.abs(b).max(initial=0)),
                err_msg=f"{case.name} {name}",
            )


def _smooth_point(case: Case, rng: np.random.Generator) -> tuple[Case, dict, dict[str, float], dict]:
    """The case, moved off kinks; cotangents for its outputs, and slopes of <g, y> along random directions."""
    inputs = dict(case.inputs)
    model = primal_model(case, np.float64)
    outputs = evaluate(model, {n: _cast(inputs[n], np.float64) for n in case.wrt})
    g = {
        f"g_{name}": rng.standard_normal(y.shape).astype(y.dtype)
        for name, y in zip(case.outputs, outputs, strict=True)
        if y.dtype in FLOATS
    }
    for _ in range(DRAWS):
        moved = replace(case, inputs=inputs)
        directions = {n: rng.standard_normal(inputs[n].shape) for n in case.wrt}
        slopes = {n: _slope(moved, n, v, g) for n, v in directions.items()}
        if None not in slopes.values():
            return moved, g, slopes, directions  # type: ignore[return-value]
        inputs |= {n: case.inputs[n] * (1 + 0.01 * d) + 0.02 * d for n, d in directions.items()}
    raise AssertionError(f"{case.name}: no point without a kink in {DRAWS} draws")


def _slope(case: Case, name: str, v: np.ndarray, g: Mapping[str, np.ndarray]) -> float | None:
    """The central difference of <g, y> along `v` in input `name`, or None at a kink or outside the domain."""
    model = primal_model(case, np.float64)
    x = {n: _cast(case.inputs[n], np.float64) for n in case.wrt}

    def phi(step: float) -> float:
        outputs = evaluate(model, x | {name: x[name] + step * v})
        pairs = zip(case.outputs, outputs, strict=True)
        return sum(float(np.sum(g[f"g_{n}"] * y)) for n, y in pairs if f"g_{n}" in g)

    # Five points: every pair of neighbours agrees where phi is smooth, and some pair does not across a kink.
    values = [phi(i * STEP) for i in (-2, -1, 0, 1, 2)]
    steps = np.diff(values) / STEP
    if not np.all(np.isfinite(steps)) or np.ptp(steps) > 1e-3 * max(1e-3, np.abs(steps).max()):
        return None
    return (values[3] - values[1]) / (2 * STEP)


def primal_model(case: Case, dtype: type) -> onnx.ModelProto:
    """The nodes as a model of element type `dtype`: `wrt` are its inputs, all else is constant."""
    element = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [_at(node, dtype) for node in case.nodes]
    arrays = {n: _cast(a, dtype) for n, a in case.inputs.items()}
    graph = onnx.helper.make_graph(
        nodes,
        "case",
        [onnx.helper.make_tensor_value_info(n, element, arrays[n].shape) for n in case.wrt],
        [onnx.ValueInfoProto(name=n) for n in case.outputs],
        [onnx.numpy_helper.from_array(a, n) for n, a in arrays.items() if n not in case.wrt],
    )
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    known = all(y.type.tensor_type.HasField("shape") for y in inferred.graph.output)
    return inferred if known else _with_shapes_of_a_run(case, model, dtype)


def _with_shapes_of_a_run(case: Case, model: onnx.ModelProto, dtype: type) -> onnx.ModelProto:
    """Shape inference does not see through every function body, GroupNormalization's for one."""
    outputs = evaluate(model, {n: _cast(case.inputs[n], dtype) for n in case.wrt})
    for info, y in zip(model.graph.output, outputs, strict=True):
        element = onnx.helper.np_dtype_to_tensor_dtype(y.dtype)
        info.CopyFrom(onnx.helper.make_tensor_value_info(info.name, element, y.shape))
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def gradient_model(case: Case, dtype: type) -> onnx.ModelProto:
    """A model from `wrt` and the outputs' cotangents to the cotangents of `wrt`, checked for shape and type."""
    model = ir.from_proto(primal_model(case, dtype))
    if any(("", node.op_type) in rewritten() for node in model.graph):
        take_apart(model)
        for y, name in zip(model.graph.outputs, case.outputs, strict=True):
            y.name = name
    bodied = {node.op_type for node in model.graph if not has_rule(node.op_type) and is_spelt_out(node)}
    model = spell_out(model, bodied) if bodied else model
    graph = model.graph
    op = Builder(graph, prefix="slopes/")
    seeds = {}
    for y in graph.outputs:
        if y.dtype in (ir.DataType.FLOAT, ir.DataType.DOUBLE):
            seeds[y] = ir.Value(name=f"g_{y.name}", type=y.type, shape=y.shape)
    primals = list(graph.inputs)
    cotangents = backward(op, seeds, primals)
    missing = [x.name for x, c in zip(primals, cotangents, strict=True) if c is None]
    assert not missing, f"{case.name}: no cotangent for {missing}"
    graph.inputs.extend(seeds.values())
    graph.outputs.clear()
    graph.outputs.extend(op.Identity(c) for c in cotangents)
    for x, y in zip(primals, graph.outputs, strict=True):
        y.type, y.shape = x.type, x.shape
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    # Inferred anew and strictly, a cotangent of another shape or type than its primal contradicts its output.
    del proto.graph.value_info[:]
    onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    return proto


def evaluate(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs by the reference implementation, in the precision of the model."""
    with np.errstate(all="ignore"):
        wanted = {i.name for i in model.graph.input}
        evaluator = ReferenceEvaluator(model, new_ops=CORRECTED)
        return [np.asarray(a) for a in evaluator.run(None, {n: a for n, a in feeds.items() if n in wanted})]


def _cast(array: np.ndarray, dtype: type) -> np.ndarray:
    return np.asarray(array, dtype=dtype) if np.asarray(array).dtype in FLOATS else np.asarray(array)


def _at(node: onnx.NodeProto, dtype: type) -> onnx.NodeProto:
    """The node, with `stash_type` (the precision inside a normalisation) following the model's."""
    own = onnx.NodeProto()
    own.CopyFrom(node)
    if dtype is np.float64 and node.op_type == "GroupNormalization":
        del own.attribute[:]
        own.attribute.extend(a for a in node.attribute if a.name != "stash_type")
        own.attribute.append(onnx.helper.make_attribute("stash_type", onnx.TensorProto.DOUBLE))
    return own
