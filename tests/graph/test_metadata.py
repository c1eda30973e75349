"""Names of classes beside the graph."""

import numpy as np
import onnx
import pytest

from auditor.data.labels import in_order_of
from auditor.data.read import read_dataset
from auditor.errors import DatasetError
from auditor.graph.upload import read_upload
from tests.graph.models import linear


def named(**entries):
    model = onnx.load_from_string(linear())
    onnx.helper.set_model_props(model, entries)
    return read_upload(model.SerializeToString())


@pytest.mark.parametrize(
    "entry",
    [
        {"names": "{0: 'cat', 1: 'dog', 2: 'eel'}"},
        {"classes": '["cat", "dog", "eel"]'},
        {"id2label": '{"0": "cat", "1": "dog", "2": "eel"}'},
        {"label_map": '{"dog": 1, "cat": 0, "eel": 2}'},
        {"labels": "cat, dog, eel"},
        {"Class_Names": "cat\ndog\neel\n"},
    ],
)
def test_every_way_to_write_the_names_is_read(entry):
    assert named(**entry).class_names == ("cat", "dog", "eel")


@pytest.mark.parametrize(
    "text", ["cat, dog", "cat, cat, dog", '{"0": "cat", "1": "dog"}', "[[1], [2]]", "{", "7", ""]
)
def test_names_that_do_not_fit_the_classes_are_left(text):
    assert named(names=text).class_names == ()


def test_the_datas_names_are_numbered_as_the_models(tmp_path):
    np.savez(tmp_path / "data.npz", x=np.zeros((4, 4)), y=np.array(["ant", "cat", "bee", "cat"]))
    dataset = read_dataset(tmp_path / "data.npz", domain=None)
    assert dataset.y.tolist() == [0, 2, 1, 2]
    assert in_order_of(dataset, ["cat", "bee", "dog", "ant"]).y.tolist() == [3, 0, 1, 0]
    assert in_order_of(dataset, ["x", "y"]) is dataset
    assert in_order_of(dataset, []) is dataset
    with pytest.raises(DatasetError, match="'bee' is none of the 2"):
        in_order_of(dataset, ["cat", "ant"])
