"""Control flow and lists: gone where their course is known, with the same scores, and the right slopes in any case."""

import numpy as np
import pytest

from auditor.autodiff.coverage import obstacles
from auditor.classifier import OnnxClassifier
from auditor.graph.plain import make_plain
from auditor.graph.upload import read_upload
from auditor.runtime import Session
from auditor.spec import Loss
from tests.graph.models import text

RNG = np.random.default_rng(0)
BATCH, CLASSES = 3, 4
W = RNG.normal(size=(6, CLASSES)).astype(np.float32)
R = (0.5 * RNG.normal(size=(6, 6))).astype(np.float32)
NUMBERS = {
    "one": np.array(1),
    "two": np.array(2),
    "five": np.array(5),
    "last": np.array(-1),
    "many": np.array(2**62),
    "thousand": np.array(1000),
    "yes": np.array(True),
    "zero": np.float32(0),
    "quarter": np.float32(0.25),
    "axis": np.array([1]),
    "front": np.array([0]),
    "sizes": np.array([2, 4]),
    "W": W,
    "R": R,
}

# What is left of each: nothing of its control flow, or the operator that the input decides on.
GONE = {
    "a condition on the shape": """
        n = Shape(x) r = Size(n) c = Equal(r, two)
        h = If(c)<then_branch = a () => (t) { t = Identity(x) }, else_branch = b () => (t) { t = Squeeze(x) }>
        y = MatMul(h, W)""",
    "a counted loop": """
        h = Loop<body = step (int64 i, bool c, float[B,6] s) => (bool d, float[B,6] t) {
            d = Identity(c) u = MatMul(s, R) t = Tanh(u) }>(five, yes, x)
        y = MatMul(h, W)""",
    "a loop as long as its own counter": """
        j, h = Loop<body = step (int64 i, bool c, int64 k, float[B,6] s) => (bool d, int64 l, float[B,6] t) {
            l = Add(k, one) d = Less(l, five) u = MatMul(s, R) t = Tanh(u) }>(many, yes, one, x)
        y = MatMul(h, W)""",
    "a loop over columns that it stacks": """
        z = MatMul(x, W)
        k, rows = Loop<body = step (int64 i, bool c, float[B,6] s) => (bool d, float[B,6] t, float[B] row) {
            d = Identity(c) t = Sin(s) row = Gather<axis=1>(s, i) }>(five, yes, x)
        turned = Transpose(rows) part = Split<axis=1, num_outputs=2>(turned)
        sum = ReduceSum(turned, axis) y = Add(z, sum)""",
    "a list of parts": """
        parts = SplitToSequence<axis=1>(x, sizes) a = SequenceAt(parts, last) b = Sin(a)
        more = SequenceInsert(parts, b, one) less = SequenceErase(more, last) n = SequenceLength(less)
        m = Cast<to=1>(n) j = ConcatFromSequence<axis=1>(less) k = Mul(j, m) y = MatMul(k, W)""",
    "a list made at once": """
        s = Sin(x) both = SequenceConstruct(x, s)
        roots = SequenceMap<body = root (float[B,6] a) => (float[B,6] b) { c = Exp(a) b = Sqrt(c) }>(both)
        j = ConcatFromSequence<axis=0, new_axis=1>(roots) k = ReduceSum<keepdims=0>(j, front) y = MatMul(k, W)""",
    "a list that a loop fills": """
        none = SequenceEmpty()
        all, s = Loop<body = step (int64 i, bool c, seq(float[B,6]) q, float[B,6] s) =>
                      (bool d, seq(float[B,6]) p, float[B,6] t) {
            d = Identity(c) u = MatMul(s, R) t = Tanh(u) p = SequenceInsert(q, t) }>(five, yes, none, x)
        j = ConcatFromSequence<axis=0, new_axis=1>(all) n = SequenceLength(all)
        k = Loop<body = again (int64 i, bool c, float[B,6] s) => (bool d, float[B,6] t) {
            d = Identity(c) a = SequenceAt(all, i) t = Add(s, a) }>(n, yes, x)
        y = MatMul(k, W)""",
    "an optional value": """
        o = Optional(x) c = OptionalHasElement(o) g = OptionalGetElement(o)
        h = If(c)<then_branch = a () => (t) { t = Sin(g) }, else_branch = b () => (t) { t = Identity(x) }>
        y = MatMul(h, W)""",
}
LEFT = {
    "a condition on the values": (
        """
        z = MatMul(x, W) s = ReduceSum<keepdims=0>(x) c = Greater(s, zero)
        y = If(c)<then_branch = a () => (t) { t = Tanh(z) }, else_branch = b () => (t) { u = MatMul(x, W) t = Sin(u) }>""",
        "If",
    ),
    "a loop until it is large": (
        """
        h = Loop<body = step (int64 i, bool c, float[B,6] s) => (bool d, float[B,6] t) {
            u = MatMul(s, R) v = Tanh(u) t = Add(u, v) n = ReduceL2<keepdims=0>(t) d = Less(n, limit) }>(five, yes, x)
        y = MatMul(h, W)""",
        "Loop",
    ),
    "a long loop": (
        """
        h = Loop<body = step (int64 i, bool c, float[B,6] s) => (bool d, float[B,6] t) {
            d = Identity(c) u = MatMul(s, R) v = Mul(u, quarter) t = Add(v, x) }>(thousand, yes, x)
        y = MatMul(h, W)""",
        "Loop",
    ),
    "a scan from the last column": (
        """
        o = Identity(start)
        h, k = Scan<num_scan_inputs = 1, scan_input_axes = [1], scan_input_directions = [1], scan_output_axes = [1],
                    body = step (float s, float[B] a) => (float u, float[B] t) {
            b = Tanh(a) t = Mul(b, s) u = Add(s, s) }>(o, x)
        y = MatMul(k, W)""",
        "Scan",
    ),
}


def plain(body, batch=BATCH):
    constants = NUMBERS | {"limit": np.float32(60), "start": np.float32(0.1)}
    used = {name: value for name, value in constants.items() if name in body}
    return make_plain(
        read_upload(text(f"f (float[1,6] x) => (float[1,4] y) {{ {body} }}", opset=21, **used)), batch=batch
    )


def check_slopes(graph):
    """Of a random direction, in float32."""
    classifier = OnnxClassifier(graph, domain=None)
    for _ in range(3):
        x, v = (RNG.normal(size=(graph.batch, 6)).astype(np.float32) for _ in range(2))
        y = np.zeros(graph.batch, np.int64)
        g = classifier.gradient(x, y, Loss.LOGIT, target=y + 1).g
        up, down = (classifier.logits((x + s * 1e-2 * v).astype(np.float32))[:, 1] for s in (1, -1))
        assert (g * v).sum(axis=1) == pytest.approx((up - down) / 2e-2, rel=2e-2, abs=5e-3)


@pytest.mark.parametrize("name", GONE)
def test_what_no_input_decides_is_spelled_out(name):
    graph = plain(GONE[name])
    assert graph.batch == BATCH
    operators = {node.op_type for node in graph.model.graph}
    assert not {o for o in operators if o in ("If", "Loop", "Scan") or "Sequence" in o or "Optional" in o}
    assert obstacles(graph) == []
    check_slopes(graph)


@pytest.mark.parametrize("name", LEFT)
def test_what_the_input_decides_is_differentiated_as_it_is(name):
    body, operator = LEFT[name]
    graph = plain(body)
    assert operator in {node.op_type for node in graph.model.graph}
    assert graph.batch == (1 if name in ("a condition on the values", "a loop until it is large") else BATCH)
    assert obstacles(graph) == []
    check_slopes(graph)


def test_a_loop_in_a_file_of_open_batch_takes_the_batch_asked_for():
    body = GONE["a list that a loop fills"]
    used = {name: value for name, value in NUMBERS.items() if name in body}
    upload = read_upload(text(f"f (float[N,6] x) => (float[N,4] y) {{ {body} }}", opset=21, **used))
    graph = make_plain(upload, batch=BATCH)
    assert graph.batch == BATCH
    x = RNG.random((BATCH, 6), np.float32)
    scores = Session(upload.data).run({"x": x})[0]
    np.testing.assert_allclose(OnnxClassifier(graph, domain=None).logits(x), scores, rtol=1e-5, atol=1e-5)
