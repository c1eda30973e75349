"""Pools over regions taken apart, against what ONNX Runtime's own kernels give."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper, version_converter

from auditor.classifier import OnnxClassifier
from auditor.graph.plain import make_plain
from auditor.graph.rewriting import take_apart
from auditor.graph.upload import read_upload
from auditor.runtime import evaluate
from auditor.spec import Loss
from tests.graph.models import text

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 3, 8, 9)).astype(np.float32)
INSIDE = [[1.3, 2.1, 6.2, 7.4], [4, 4, 4.3, 4.2], [3, 3, 3, 3], [6, 5, 2, 3]]
ACROSS = [[-3, -2, 12, 13], [-100, -50, 300, 200], [-5.3, 2, 40, 4], [20, 20, 30, 30]]
REGIONS = np.array([*INSIDE, *ACROSS], np.float32)
OF_IMAGE = RNG.integers(0, 2, len(REGIONS))
SIZES = {"output_height": 2, "output_width": 3, "spatial_scale": 0.8}


def model_of(operator, arrays, opset, **attributes):
    """One node at that opset."""
    feeds = {f"x{i}": a for i, a in enumerate(arrays)}
    kinds = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in feeds.items()
    ]
    node = helper.make_node(operator, list(feeds), ["y"], **attributes)
    graph = helper.make_graph([node], "regions", kinds, [onnx.ValueInfoProto(name="y")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), feeds


def check_parts(operator, arrays, known, opset, **attributes):
    """known: positions of the inputs that are constants, and not fed."""
    proto, feeds = model_of(operator, arrays, opset, **attributes)
    (own,) = evaluate(proto.SerializeToString(), feeds)
    for i in known:
        proto.graph.initializer.append(numpy_helper.from_array(feeds.pop(f"x{i}"), f"x{i}"))
    inputs = [v for v in proto.graph.input if v.name in feeds]
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    model = ir.from_proto(onnx.shape_inference.infer_shapes(version_converter.convert_version(proto, 21)))
    take_apart(model)
    assert operator not in {node.op_type for node in model.graph}
    (found,) = evaluate(ir.to_proto(model).SerializeToString(), feeds)
    np.testing.assert_allclose(found, own, atol=1e-4)  # positions so far out are rounded


@pytest.mark.parametrize("known", [(), (1, 2)], ids=["given", "constant"])
@pytest.mark.parametrize("sampling_ratio", [0, 1, 3])
@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("shift", ["half_pixel", "output_half_pixel", None])
def test_aligned_regions_give_the_kernels_own_values(mode, sampling_ratio, shift, known):
    """Without a word on the shift: opset 10, which knew none."""
    more = {"coordinate_transformation_mode": shift} if shift else {}
    opset = 16 if shift else 10
    arrays = [IMAGES, REGIONS, OF_IMAGE]
    check_parts("RoiAlign", arrays, known, opset, mode=mode, sampling_ratio=sampling_ratio, **SIZES, **more)


@pytest.mark.parametrize("known", [(), (1,)], ids=["given", "constant"])
@pytest.mark.parametrize("opset", [7, 21])
def test_regions_of_largest_entries_give_the_kernels_own_values(opset, known):
    arrays = [IMAGES - 1, np.concatenate([OF_IMAGE[:, None], REGIONS], axis=1, dtype=np.float32)]
    check_parts("MaxRoiPool", arrays, known, opset, pooled_shape=[2, 3], spatial_scale=0.8)


@pytest.mark.parametrize(
    "pool",
    [
        "RoiAlign<output_height=2, output_width=2, spatial_scale=0.5>(r, corners, which)",
        "MaxRoiPool<pooled_shape=[2,2], spatial_scale=0.5>(r, numbered)",
    ],
    ids=["aligned", "largest"],
)
def test_a_gradient_passes_the_regions_of_a_file(pool):
    body = f"""f (float[1,3,8,8] x) => (float[1,4] y) {{
        r = Relu(x) p = {pool} f = Flatten(p) y = MatMul(f, W) }}"""
    weights = {
        "corners": np.array([[1, 2, 13, 12]], np.float32),
        "numbered": np.array([[0, 1, 2, 13, 12]], np.float32),
        "which": np.array([0]),
        "W": RNG.normal(size=(12, 4)).astype(np.float32),
    }
    graph = make_plain(read_upload(text(body, opset=10, **weights)), batch=1)
    x = RNG.normal(size=(1, 3, 8, 8)).astype(np.float32)
    v = RNG.normal(size=x.shape).astype(np.float32)
    classifier = OnnxClassifier(graph, domain=None)
    found = classifier.gradient(x, np.array([1]), Loss.CROSS_ENTROPY)
    up, down = (
        classifier.gradient(x + s * v, np.array([1]), Loss.CROSS_ENTROPY).loss
        for s in (np.float32(1e-3), np.float32(-1e-3))
    )
    assert np.sum(found.g * v) == pytest.approx(float(up[0] - down[0]) / 2e-3, rel=2e-2)
