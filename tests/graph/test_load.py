import contextlib
import io
import pickle
import zipfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from auditor.errors import ModelError
from auditor.graph.load import load
from auditor.graph.plain import make_plain
from auditor.graph.randomness import is_random
from auditor.graph.upload import read_upload
from tests.graph.models import WEIGHT, linear, text, value


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", "x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (_zip(), "zip archive"),
        (pickle.dumps({"weight": 1}), "pickle"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(64), "TensorFlow Lite"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        (b"epoch,loss\n1,0.5\n", "text, beginning with 'epoch,loss'"),
        (bytes(range(128, 256)) * 4, "not ONNX"),
    ],
)
def test_a_file_that_is_not_onnx_is_told_what_it_is(data, said):
    with pytest.raises(ModelError, match=said):
        load(data)


def test_every_truncation_is_refused():
    data = linear()
    for size in range(1, len(data), 7):
        with pytest.raises(ModelError):
            load(data[:size])


def test_a_truncated_file_says_how_much_is_missing():
    data = linear()
    with pytest.raises(ModelError, match=f"cut short: it has {len(data) - 20} bytes of at least"):
        load(data[:-20])


def _external(tensor: onnx.TensorProto) -> onnx.TensorProto:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def _in_initializer(model):
    _external(model.graph.initializer[0])


def _in_sparse_initializer(model):
    sparse = model.graph.sparse_initializer.add()
    sparse.dims.append(4)
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array([1]), "indices"))
    sparse.values.CopyFrom(_external(numpy_helper.from_array(np.ones(1, np.float32), "values")))


def _in_constant(model):
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=_external(numpy_helper.from_array(WEIGHT))))


def _branch(tensor):
    node = helper.make_node("Constant", [], ["b"], value=tensor)
    return helper.make_graph([node], "branch", [], [value("b", [4, 3])])


def _in_subgraph(model):
    branch = _branch(_external(numpy_helper.from_array(WEIGHT)))
    model.graph.node.append(helper.make_node("If", ["c"], ["i"], then_branch=branch, else_branch=branch))


def _in_function(model):
    node = helper.make_node("Constant", [], ["o"], value=_external(numpy_helper.from_array(WEIGHT)))
    model.functions.append(helper.make_function("own", "f", [], ["o"], [node], [helper.make_opsetid("", 17)]))


@pytest.mark.parametrize("hide", [_in_initializer, _in_sparse_initializer, _in_constant, _in_subgraph, _in_function])
def test_no_tensor_may_point_outside_the_file(hide):
    model = onnx.load_from_string(linear())
    hide(model)
    with pytest.raises(ModelError, match="another file"):
        load(model.SerializeToString())


def test_custom_operators_are_named():
    data = linear("y = my.ops.Magic(z)", domains=', "my.ops":1')
    with pytest.raises(ModelError, match=r"my\.ops::Magic"):
        load(data)


def test_a_custom_operator_inside_a_branch_is_found():
    model = onnx.load_from_string(linear())
    branch = _branch(numpy_helper.from_array(WEIGHT))
    branch.node[0].CopyFrom(helper.make_node("Magic", [], ["b"], domain="my.ops"))
    model.graph.node.append(helper.make_node("If", ["z"], ["i"], then_branch=branch, else_branch=branch))
    with pytest.raises(ModelError, match=r"my\.ops::Magic"):
        load(model.SerializeToString())


def test_functions_of_the_file_are_no_custom_operators():
    model = onnx.load_from_string(linear("y = own.Twice(z)", domains=', "own":1'))
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    model.functions.append(helper.make_function("own", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 17)]))
    assert load(model.SerializeToString()).functions[0].name == "Twice"


def test_an_opset_newer_than_onnx_runtime_is_refused():
    with pytest.raises(ModelError, match="opset 27"):
        load(linear(opset=27, ir_version=13))


def test_a_file_without_opset_is_refused():
    model = onnx.load_from_string(linear())
    del model.opset_import[:]
    with pytest.raises(ModelError, match="no operator set"):
        load(model.SerializeToString())


def test_what_breaks_the_standard_is_refused_in_one_line():
    with pytest.raises(ModelError, match="breaks the ONNX standard") as caught:
        load(linear("y = Relu(z, z)"))
    assert "\n" not in str(caught.value)


TRAINING = {
    "BatchNormalization": """f (float[N,3] x) => (float[N,3] y) {
        y, m, v = BatchNormalization<training_mode=1>(x, one, one, one, one) }""",
}


def test_newer_operators_under_an_older_opset_are_told_from_other_faults():
    with pytest.raises(ModelError, match=r"of opset 18 but uses newer operators \(Gelu\).*another opset_version"):
        load(linear("y = Gelu(z)", opset=18))


@pytest.mark.parametrize("operator", TRAINING)
def test_training_mode_is_refused(operator):
    weights = {"BatchNormalization": {"one": np.ones(3, np.float32)}}
    with pytest.raises(ModelError, match=f"{operator}.*training mode"):
        load(text(TRAINING[operator], **weights[operator]))


@pytest.mark.parametrize("mode", [True, False])
def test_a_dropout_that_stays_on_is_noise_and_accepted(mode):
    body = "f (float[N,3] x) => (float[N,3] y) { y = Dropout(x, ratio, mode) }"
    data = load(text(body, ratio=np.array(0.5, np.float32), mode=np.array(mode)))
    assert data.graph.node[0].op_type == "Dropout"
    assert is_random(data) == mode


def test_a_name_that_is_no_text_is_damage():
    data = linear()
    assert data.count(b"\x01x") > 1
    with pytest.raises(ModelError, match="damaged"):
        read_upload(data.replace(b"\x01x", b"\x01\xff"))


def test_no_flipped_byte_ends_in_another_error():
    data, rng = linear("y = Softmax<axis=1>(z)"), np.random.default_rng(0)
    accepted = 0
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] = rng.integers(256)
        with contextlib.suppress(ModelError):
            make_plain(read_upload(bytes(damaged)), batch=2)
            accepted += 1
    assert 0 < accepted < 300  # names may be any, and weights; little else
