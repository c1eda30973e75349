"""Models that may refuse: the upload's answer, the same answer by the plain graph, and what is no refusal at all."""

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from auditor import runtime
from auditor.autodiff.compile import forward_model
from auditor.errors import SpecError
from auditor.graph.build import Builder
from auditor.graph.plain import make_plain
from auditor.graph.refusal import evading, lifted
from auditor.graph.upload import read_upload
from auditor.spec import Detector
from tests.graph.models import linear, text

WEIGHT = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
SIDE = np.random.default_rng(1).normal(size=(4, 1)).astype(np.float32)
_NOTHING = '<ir_version: 8, opset_import: ["": 18]> f (float[1,4] x, int64[1] y, int64[1] t) => (float[1,4] z) { z = Identity(x) }'


def detecting(tail, kind="float[N,1]", scores="y = Identity(z)"):
    """x (N, 4) -> z = x W -> y; q = x v -> `tail` -> r."""
    body = f"f (float[N,4] x) => (float[N,3] y, {kind} r) {{ z = MatMul(x, W) {scores} q = MatMul(x, v) {tail} }}"
    return text(body, W=WEIGHT, v=SIDE, half=np.float32(0.25), flat=np.array([-1]))


@pytest.mark.parametrize(
    ("tail", "kind", "threshold", "limit"),
    [
        ("r = Identity(q)", "float[N,1]", 0.5, 0.5),
        ("r = Reshape(q, flat)", "float[N]", -0.25, -0.25),
        ("r = Sigmoid(q)", "float[N,1]", 0.6, np.log(1.5)),
        ("s = Sigmoid(q) r = Squeeze(s, one)", "float[N]", 0.5, 0.0),
        ("r = Greater(q, half)", "bool[N,1]", 0.5, 0.25),
        ("t = Tanh(q) r = Reshape(t, flat)", "float[N]", 0.5, np.arctanh(0.5)),
        ("a = Sub(q, half) b = Div(a, half) r = Softsign(b)", "float[N,1]", -0.5, 0.0),
        ("e = Exp(q) m = Mul(half, e) r = Add(m, half)", "float[N,1]", 0.5, 0.0),
        ("n = Neg(q) s = Sigmoid(n) r = Sub(half, s)", "float[N,1]", -0.25, 0.0),
    ],
)
@pytest.mark.parametrize("scores", ["y = Identity(z)", "y = Softmax<axis=1>(z)"])
def test_the_largest_answer_is_a_rejection_exactly_above_the_threshold(tail, kind, threshold, limit, scores):
    data = detecting(tail.replace("one", "flat"), kind, scores)
    upload = read_upload(data, output="y", detector=Detector(output="r", threshold=threshold))
    assert (upload.classes, upload.answers, upload.refused) == (3, 4, (3,))
    x = np.random.default_rng(2).normal(size=(200, 4)).astype(np.float32)
    expected = np.where((x @ SIDE)[:, 0] > limit, 3, np.argmax(x @ WEIGHT, axis=1))
    assert 20 < np.sum(expected == 3) < 180
    given = upload.scored(*runtime.Session(data).run({"x": x}, upload.decisive))
    assert np.array_equal(given.argmax(axis=1), expected)
    graph = make_plain(upload, batch=200)
    (logits,) = runtime.Session(forward_model(graph)).run({"x": x})
    assert graph.classes == 4
    assert np.array_equal(logits.argmax(axis=1), expected)
    weighed = forward_model(make_plain(replace(upload, weight=0.25), batch=200))
    (lighter,) = runtime.Session(weighed).run({"x": x})
    above = [scores[:, 3] - scores[:, :3].max(axis=1) for scores in (logits, lighter)]
    assert np.allclose(above[1], above[0] / 4, atol=1e-5)


@pytest.mark.parametrize("tail", ["t = Tanh(q) r = Mul(t, half)", "s = Sigmoid(q) r = Sub(s, half)"])
def test_a_saturating_end_of_a_detector_is_left_out(tail):
    upload = read_upload(detecting(tail), output="y", detector=Detector(output="r", threshold=0.1))
    operators = {node.op_type for node in make_plain(upload, batch=4).model.graph}
    assert not operators & {"Tanh", "Sigmoid"}


def test_a_detector_at_its_threshold_does_not_reject():
    best = np.array([[3.0], [1e9], [1e9], [2.0]])
    above = np.array([[0.0], [1e-9], [0.0], [-5.0]])
    assert np.array_equal(lifted(best, above) > best, above > 0)
    assert lifted(best, above)[3] == -3


def test_an_output_named_as_the_detector_is_no_candidate_for_the_scores():
    data = detecting("r = Sigmoid(q)")
    assert read_upload(data, detector=Detector(output="r")).output == "y"


@pytest.mark.parametrize(
    ("detector", "why"),
    [
        (Detector(output="q"), r"no output 'q' to reject by; it has 'y', 'r'"),
        (Detector(output="y"), r"'y', N x 3 of tensor\(float\), is no detector"),
    ],
)
def test_what_is_no_detector_is_refused(detector, why):
    with pytest.raises(SpecError, match=why):
        read_upload(detecting("r = Identity(q)"), detector=detector)


def test_the_scores_themselves_are_no_detector():
    with pytest.raises(SpecError, match="holds the class scores"):
        read_upload(linear(), detector=Detector(output="y"))


@pytest.mark.parametrize(("abstain", "classes", "why"), [(3, 3, "0 to 2"), (1, 2, "it needs two")])
def test_a_class_to_abstain_by_must_be_one_beside_two_others(abstain, classes, why):
    with pytest.raises(SpecError, match=why):
        read_upload(linear(classes=classes), abstain=abstain)


@pytest.mark.parametrize(
    ("refused", "y", "expected", "own"),
    [
        ((1,), 2, [5, 7, 3], 1),
        ((1,), 0, [7, 2, 3], 0),
        ((0, 3), 1, [7, 2], 0),
        ((0, 3), 2, [7, 5], 1),
        ((3,), 2, [5, 7, 3], 2),
    ],
)
def test_losses_take_a_refusal_for_the_labels_own_score(refused, y, expected, own):
    model = ir.from_proto(onnx.parser.parse_model(_NOTHING))
    inputs = model.graph.inputs
    model.graph.outputs[:] = evading(Builder(model.graph), inputs[0], refused, inputs[1], inputs[2])
    session = runtime.Session(ir.to_proto(model).SerializeToString())
    feeds = {"x": np.array([[5, 7, 2, 3]], np.float32), "y": np.array([y]), "t": np.array([2])}
    kept = [k for k in range(4) if k not in refused]
    scores, numbered, aim = session.run(feeds)
    assert np.array_equal(scores, [expected])
    assert (numbered[0], aim[0]) == (own, kept.index(2))
