"""Sessions and devices: what fails, fails loudly and by its own name."""

import sys
import types

import numpy as np
import onnxruntime
import pytest

from auditor import runtime
from auditor.errors import DeviceError, ModelError, OutOfMemory
from tests.graph.models import linear, text


def test_a_session_knows_its_inputs_and_outputs():
    session = runtime.Session(linear())
    assert session.inputs["x"] == runtime.Tensor("x", "tensor(float)", ("N", 4))
    assert session.outputs["y"].dtype == np.float32


def test_bound_buffers_are_read_and_written_in_place():
    session = runtime.Session(text("f (float[2,3] x) => (float[2,3] y) { y = Add(x, x) }"))
    x, y = np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)
    bound = session.bind({"x": x}, {"y": y})
    bound.run()
    assert (y == 2).all()
    x[:] = 5
    bound.run()
    assert (y == 10).all()


def test_a_model_that_onnx_runtime_refuses_is_a_model_error():
    with pytest.raises(ModelError, match="ONNX Runtime cannot run"):
        runtime.Session(
            text("f (float[2,3] x) => (float[2,4] y) { y = MatMul(x, W) }", W=np.ones((5, 4), np.float32))
        )


@pytest.mark.parametrize(
    "raised",
    [
        MemoryError("no room"),
        RuntimeError("Failed to allocate memory for requested buffer of size 123"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("CUDA out of memory"),
    ],
)
def test_every_way_of_running_out_of_memory_has_one_name(raised):
    session = runtime.Session(linear())

    def fail(*arguments):
        raise raised

    session._session = types.SimpleNamespace(run=fail)
    with pytest.raises(OutOfMemory):
        session.run({})


def test_an_error_of_our_own_is_not_disguised():
    session = runtime.Session(linear())
    with pytest.raises(TypeError):
        session.run(7)


@pytest.fixture
def cupy(monkeypatch):
    """A CuPy whose GPU does not answer."""

    class NoGpu(Exception):
        pass

    def fail(device):
        raise NoGpu("cudaErrorNoDevice")

    api = types.SimpleNamespace(getDeviceProperties=fail, CUDARuntimeError=NoGpu)
    module = types.ModuleType("cupy")
    module.cuda = types.SimpleNamespace(runtime=api)
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(runtime, "array_namespace", lambda device: np)


def test_cuda_without_its_provider_is_a_device_error(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match=r"built without it.*--device cpu"):
        runtime.require("cuda")
    with pytest.raises(DeviceError):
        runtime.Session(linear(), device="cuda")


def test_cuda_without_cupy_is_a_device_error(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setitem(sys.modules, "array_api_compat.cupy", None)
    with pytest.raises(DeviceError, match=r"CuPy is not installed.*--device cpu"):
        runtime.require("cuda")


def test_cuda_without_a_gpu_is_a_device_error(monkeypatch, cupy):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises(DeviceError, match=r"no GPU answers.*--device cpu"):
        runtime.require("cuda")


def test_the_cpu_needs_nothing():
    assert runtime.require("cpu") is None


def test_processors_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 3}, raising=False)
    assert runtime.processors() == 2


def test_processors_are_counted_where_affinity_is_not_known(monkeypatch):
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert runtime.processors() == 6


def test_a_fingerprint_names_versions_and_processor_but_no_host():
    found = runtime.fingerprint("cpu")
    assert found["onnxruntime"] == onnxruntime.__version__
    assert set(found) == {"onnxruntime", "numpy", "machine", "cpu", "device"}
