"""Files that other people's exporters wrote, found through AUDITOR_TESTDATA."""

import os
from pathlib import Path

import numpy as np
import pytest

from auditor.classifier import OnnxClassifier
from auditor.errors import ModelError
from auditor.graph.equal import probes
from auditor.graph.plain import make_plain, serialise
from auditor.graph.upload import read_upload
from auditor.runtime import Session, evaluate
from auditor.spec import Loss

DATA = Path(os.environ.get("AUDITOR_TESTDATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
MODELS = sorted(DATA.glob("models/*/*.onnx"))
ZOO = sorted(
    p for p in DATA.glob("zoo/*.onnx") if not p.name.startswith("light_")
)  # those weigh up to 570 MB unfolded
BATCH = 4

REFUSED = {
    "dnsmos_audio.onnx": "single number per example",
    "pensieve_multi_slice.onnx": "no output is a row of class scores",
    "qlinear_conv.onnx": "ONNX Runtime cannot run",  # not on one example: a Squeeze takes the batch axis too
    "token_transformer.onnx": "3 inputs",
}
TREES = {"random_forest_zipmap.onnx", "xgboost_classifier.onnx"}  # no standard operators say the same

pytestmark = pytest.mark.skipif(not MODELS, reason="AUDITOR_TESTDATA has no models")


@pytest.mark.parametrize("path", [p for p in MODELS + ZOO if p.name not in REFUSED], ids=lambda p: p.name)
def test_the_plain_graph_decides_as_the_upload(path):
    upload = read_upload(path.read_bytes())
    graph = make_plain(upload, batch=BATCH)
    x = probes(graph.shape)[:BATCH]
    session = Session(upload.data)
    alone = [session.run({upload.input: row[None].astype(upload.input_dtype)}, [upload.output])[0] for row in x]
    decisions = [int(upload.class_scores(raw)[0].argmax()) for raw in alone]
    (logits,) = evaluate(serialise(graph.model), {"x": x})
    assert graph.batch == BATCH
    assert logits.shape == (BATCH, upload.classes)
    assert logits.argmax(axis=1).tolist() == decisions
    domains = {node.domain for node in graph.model.graph}
    assert domains == {""} or path.name in TREES


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_single_input_classifier_is_refused(name):
    path = DATA / "zoo" / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    with pytest.raises(ModelError, match=REFUSED[name]):
        read_upload(path.read_bytes())


def test_an_audio_models_rating_is_attacked_across_a_threshold():
    path = DATA / "zoo" / "dnsmos_audio.onnx"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    graph = make_plain(read_upload(path.read_bytes(), threshold=3.0), batch=2)
    assert (graph.shape, graph.classes) == ((900, 120), 2)
    classifier = OnnxClassifier(graph, domain=None)
    x = np.random.default_rng(0).random((2, 900, 120), np.float32)
    y = classifier.logits(x).argmax(axis=1)
    before = classifier.gradient(x, y, Loss.MARGIN)
    step = 1e-3 * before.g / np.linalg.norm(before.g.reshape(2, -1), axis=1)[:, None, None]
    climbed = classifier.gradient(x + step, y, Loss.MARGIN).loss - before.loss
    promised = (step * before.g).sum(axis=(1, 2))
    assert ((climbed > 0.5 * promised) & (climbed < 1.1 * promised)).all()


@pytest.mark.parametrize("path", [p for p in MODELS if p.parent.name == "trained"], ids=lambda p: p.name)
def test_the_plain_graph_is_as_accurate_as_published(path):
    images = DATA / "images" / f"{path.name.split('_')[0].replace('cifar', 'cifar10')}_test_1000.npz"
    with np.load(images) as stored:
        x, y = (stored["x"][:200] / np.float32(255)).astype(np.float32), stored["y"][:200]
    graph = make_plain(read_upload(path.read_bytes()), batch=200)
    (logits,) = evaluate(serialise(graph.model), {"x": x})
    published = {"advertorch": 0.989, "fastadv": 0.985, "wongkolter_0.1": 0.982, "sdp": 0.664, "small_8px": 0.312}
    expected = next(a for name, a in published.items() if name in path.name)
    assert abs((logits.argmax(axis=1) == y).mean() - expected) < 0.1
