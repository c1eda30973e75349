"""Matrix products, Einsum, and linear maps along one axis."""

from collections.abc import Sequence
from math import prod
from string import ascii_letters
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from auditor.autodiff.rules import vjp
from auditor.graph.build import Builder, shape_of
from auditor.runtime import evaluate


def along_axis(op: Builder, x: ir.Value, axis: int, matrix: np.ndarray) -> ir.Value:
    """Multiply along one axis: y[..., i, ...] = sum_j matrix[i, j] x[..., j, ...].

    x: (*before, n, *after), matrix: (m, n) -> (*before, m, *after).
    """
    before, after = shape_of(x)[:axis], shape_of(x)[axis + 1 :]
    m, n = matrix.shape
    rows = op.Reshape(x, op.ints([prod(before), n, prod(after)]))
    if prod(after) == 1:
        flat = op.Reshape(x, op.ints([prod(before), n]))
        rows = op.MatMul(flat, op.const(matrix.T, like=x))
    else:
        rows = op.MatMul(op.const(matrix, like=x), rows)
    return op.Reshape(rows, op.ints([*before, m, *after]))


def probe(op: Builder, operator: str, x: np.ndarray, *inputs: np.ndarray | None, **attributes: Any) -> np.ndarray:
    """What ONNX Runtime's operator gives for float32 `x` and constant further inputs (None: left out).

    Run on a batch of unit vectors, a linear operator shows its matrix, in whatever way it was implemented.
    """
    arrays = {f"x{i}": a for i, a in enumerate(inputs, start=1) if a is not None}
    names = ["x", *(f"x{i}" if a is not None else "" for i, a in enumerate(inputs, start=1))]
    float32 = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(operator, names, ["y"], **attributes)],
        "probe",
        [onnx.helper.make_tensor_value_info("x", float32, x.shape)],
        [onnx.helper.make_tensor_value_info("y", float32, None)],
        [onnx.numpy_helper.from_array(a, name) for name, a in arrays.items()],
    )
    opsets = [onnx.helper.make_opsetid("", op.graph.opset_imports[""])]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return evaluate(model.SerializeToString(), {"x": x.astype(np.float32)})[0]


# MatMul treats a vector as a one-row (left) or one-column (right) matrix whose axis disappears from the result.
def _as_matrices(op, g, a, b):
    """g, a, b with vectors turned into matrices."""
    shape_a, shape_b, shape_g = shape_of(a), shape_of(b), list(shape_of(g))
    if len(shape_b) == 1:
        b = op.Reshape(b, op.ints([*shape_b, 1]))
        shape_g.append(1)
    if len(shape_a) == 1:
        a = op.Reshape(a, op.ints([1, *shape_a]))
        shape_g.insert(len(shape_g) - 1, 1)
    if tuple(shape_g) != shape_of(g):
        g = op.Reshape(g, op.ints(shape_g))
    return g, a, b


def _rows(op, x):
    """x: (..., n) -> (rows, n)."""
    shape = shape_of(x)
    return x if len(shape) == 2 else op.Reshape(x, op.ints([prod(shape[:-1]), shape[-1]]))


def _reshaped(op, x, shape):
    return x if shape_of(x) == tuple(shape) else op.Reshape(x, op.ints(shape))


def _swapped(op, x):
    rank = len(shape_of(x))
    return op.Transpose(x, perm=[*range(rank - 2), rank - 1, rank - 2])


@vjp("MatMul", wrt=0)
def matmul_a(op, g, y, a, b):
    if len(shape_of(b)) == 2:
        # Gemm reads a constant weight transposed in place: a Transpose node would be folded into a second copy.
        rows = op.Gemm(_rows(op, g), b, transB=1)
        return _reshaped(op, rows, shape_of(a))
    g, _, b = _as_matrices(op, g, a, b)
    return op.MatMul(g, _swapped(op, b))


@vjp("MatMul", wrt=1)
def matmul_b(op, g, y, a, b):
    shape = shape_of(b)
    g, a, b = _as_matrices(op, g, a, b)
    if len(shape_of(b)) == 2:
        return _reshaped(op, op.Gemm(_rows(op, a), _rows(op, g), transA=1), shape)
    if _last_axis_moved(b):
        # (gᵀ a)ᵀ: its transpose and that of b's own adjoint meet and vanish; aᵀ g would be written across, and read
        # across again.
        return _swapped(op, op.MatMul(_swapped(op, g), a))
    return op.MatMul(_swapped(op, a), g)


def _last_axis_moved(x):
    """Whether x is, but for scaling, a tensor whose last axis a Transpose made the last but one."""
    node = x.producer()
    while node is not None and node.op_type in ("Mul", "Div") and prod(shape_of(node.inputs[1])) == 1:
        node = node.inputs[0].producer()
    if node is None or node.op_type != "Transpose" or "perm" not in node.attributes:
        return False
    perm = node.attributes["perm"].as_ints()
    return perm[-2] == len(perm) - 1


@vjp("Gemm", wrt=0)
def gemm_a(op, g, y, a, b, c=None, *, alpha=1.0, beta=1.0, transA=0, transB=0):
    if transA:
        return op.Gemm(b, g, alpha=alpha, transA=transB, transB=1)
    return op.Gemm(g, b, alpha=alpha, transB=1 - transB)


@vjp("Gemm", wrt=1)
def gemm_b(op, g, y, a, b, c=None, *, alpha=1.0, beta=1.0, transA=0, transB=0):
    if transB:
        return op.Gemm(g, a, alpha=alpha, transA=1, transB=transA)
    return op.Gemm(a, g, alpha=alpha, transA=1 - transA)


@vjp("Gemm", wrt=2)
def gemm_c(op, g, y, a, b, c, *, alpha=1.0, beta=1.0, transA=0, transB=0):
    return g if beta == 1.0 else op.Mul(g, op.const(beta, like=g))


@vjp("Einsum", wrt=None)
def einsum(op, g, y, *inputs, index, equation):
    """Einsum with g in the place of the operand: its letters that nothing else carries were summed away, and a
    letter that it repeats took the diagonal."""
    operands, result = _explicit(equation, [len(shape_of(x)) for x in inputs])
    own = operands[index]
    sizes: dict[str, int] = {}
    for operand, x in zip(operands, inputs, strict=True):
        for letter, size in zip(operand, shape_of(x), strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    others = [(s, x) for i, (s, x) in enumerate(zip(operands, inputs, strict=True)) if i != index]
    known = set(result).union(*(s for s, _ in others))
    gx = _contracted(op, g, result, others, [c for c in dict.fromkeys(own) if c in known])
    # One axis per letter of the operand, of size 1 where the letter was summed away or is a repetition.
    full = [sizes[c] if own.index(c) == i else 1 for i, c in enumerate(own)]
    gx = op.Reshape(gx, op.ints([size if c in known else 1 for c, size in zip(own, full, strict=True)]))
    gx = op.Expand(gx, op.ints(full))
    for i, c in enumerate(own):
        if own.index(c) != i:
            diagonal = [1] * len(own)
            diagonal[own.index(c)] = diagonal[i] = sizes[c]
            gx = op.Mul(gx, op.const(np.eye(sizes[c]).reshape(diagonal), like=g))
    return gx


def _contracted(op, g, result, others, letters):
    """The product of g and the other operands, summed to `letters`."""
    if not result and others:
        # ONNX Runtime's Einsum does not multiply by a scalar.
        spec = ",".join(s for s, _ in others) + "->" + "".join(letters)
        return op.Mul(op.Einsum(*(x for _, x in others), equation=spec), g)
    if result == "".join(letters) and not others:
        return g
    spec = ",".join([result, *(s for s, _ in others)]) + "->" + "".join(letters)
    return op.Einsum(g, *(x for _, x in others), equation=spec)


def _explicit(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The operands' letters and the result's, with letters in the place of "..." and the implicit result spelt out."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    operands = left.split(",")
    fresh = [c for c in ascii_letters if c not in equation]
    widths = [rank - len(s.replace("...", "")) if "..." in s else 0 for s, rank in zip(operands, ranks, strict=True)]
    ellipsis = "".join(fresh[: max(widths)])
    if not arrow:
        named = left.replace("...", "").replace(",", "")
        right = "..." + "".join(sorted(c for c in set(named) if named.count(c) == 1))
    spelt = [s.replace("...", ellipsis[len(ellipsis) - w :]) for s, w in zip(operands, widths, strict=True)]
    return spelt, right.replace("...", ellipsis)


@vjp("Det")
def det(op, g, y, x):
    """g times the cofactors (Jacobi), each the determinant of a minor: right for singular matrices too."""
    *batch, n, _ = shape_of(x)
    if n == 1:
        return op.Reshape(g, op.ints(shape_of(x)))
    others = np.array([[i for i in range(n) if i != row] for row in range(n)])
    entries = others[:, None, :, None] * n + others[None, :, None, :]
    flat = op.Reshape(x, op.ints([*batch, n * n]))
    minors = op.Det(op.Gather(flat, op.const(entries), axis=len(batch)))
    signs = op.const((-1.0) ** np.add.outer(np.arange(n), np.arange(n)), like=x)
    return op.Mul(op.Mul(minors, signs), op.Reshape(g, op.ints([*batch, 1, 1])))
