"""The one user of ONNX Runtime: sessions, devices, buffers, determinism.

ONNX Runtime falls back to the CPU in silence when CUDA does not load; a Session that was asked for CUDA and did not
get it raises. Buffers are bound once and reused, so that no run allocates or copies more than it must.
"""

import functools
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from auditor.errors import DeviceError, ModelError, OutOfMemory

Device = Literal["cpu", "cuda"]
Array = Any

_ELEMENTS = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(bool)": np.bool_,
}


# Optimisers that graphs of our own are not to meet: in version 1.31 this one may give the quantisers that it adds behind a
# Transpose zero points of another type, and behind nodes of a gradient they serve nothing.
UNSUITED = ("QDQPropagationTransformer",)


@dataclass(frozen=True)
class Tensor:
    """A session's input or output: name, ONNX type such as tensor(float), shape (None or a name where dynamic)."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(_ELEMENTS[self.type])


class Session:
    """A model ready to run on one device with a fixed number of threads.

    model: serialised ONNX. optimise: "all" is ONNX Runtime's default, "none" runs the graph as written. seed: of what the
    model draws; ONNX Runtime's generators begin with the session and go on from run to run. without: optimisers of ONNX
    Runtime, by its own names, that are left out.
    Raises ModelError when ONNX Runtime refuses the model, DeviceError when CUDA was asked for and is not there.
    """

    def __init__(
        self,
        model: bytes,
        *,
        device: Device = "cpu",
        threads: int = 1,
        optimise: Literal["all", "none"] = "all",
        seed: int = 0,
        without: Sequence[str] = (),
    ) -> None:
        ort = _onnxruntime()
        ort.set_seed(seed)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.use_deterministic_compute = True
        levels = ort.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise == "all" else levels.ORT_DISABLE_ALL
        self.device = device
        with _translated():
            self._session = ort.InferenceSession(
                model, options, providers=_providers(device), disabled_optimizers=list(without)
            )
        if device == "cuda" and self._session.get_providers()[0] != "CUDAExecutionProvider":
            raise DeviceError("CUDA was asked for but ONNX Runtime fell back to the CPU; see 'nvidia-smi'")
        self.inputs = {i.name: Tensor(i.name, i.type, tuple(i.shape)) for i in self._session.get_inputs()}
        self.outputs = {o.name: Tensor(o.name, o.type, tuple(o.shape)) for o in self._session.get_outputs()}

    def run(self, feeds: Mapping[str, np.ndarray], outputs: list[str] | None = None) -> list[np.ndarray]:
        """Host arrays in, host arrays out; every output unless named."""
        with _translated():
            return self._session.run(outputs, dict(feeds))

    def bind(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> "Bound":
        """Tie contiguous buffers on the session's device to inputs and outputs; the buffers must outlive it."""
        return Bound(self, inputs, outputs)


class Bound:
    """A session with its buffers; `run` reads and writes them in place."""

    def __init__(self, session: Session, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
        self._session = session._session
        self._binding = self._session.io_binding()
        self.inputs, self.outputs = dict(inputs), dict(outputs)
        for name, array in self.inputs.items():
            self._binding.bind_input(name, session.device, 0, np.dtype(array.dtype), array.shape, _address(array))
        for name, array in self.outputs.items():
            self._binding.bind_output(name, session.device, 0, np.dtype(array.dtype), array.shape, _address(array))

    def run(self) -> None:
        with _translated():
            self._session.run_with_iobinding(self._binding)


def evaluate(model: bytes, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Run a model once on the CPU, as written, without graph optimisation."""
    return Session(model, optimise="none").run(feeds)


def fold(model: bytes) -> bytes:
    """The same model after ONNX Runtime's basic optimisations: constants folded, no-ops removed, standard operators."""
    ort = _onnxruntime()
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = os.path.join(folder, "folded.onnx")
        with _translated():
            ort.InferenceSession(
                model, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(UNSUITED)
            )
        with open(options.optimized_model_filepath, "rb") as file:
            return file.read()


def require(device: Device) -> None:
    """Raises DeviceError unless the device's array package, ONNX Runtime provider and, for CUDA, a GPU are there."""
    if device == "cpu":
        return
    if "CUDAExecutionProvider" not in _onnxruntime().get_available_providers():
        raise DeviceError(
            "CUDA was asked for, but this ONNX Runtime was built without it; "
            "pip install 'onnx-auditor[cuda]', or use --device cpu"
        )
    array_namespace(device)
    import cupy

    try:
        cupy.cuda.runtime.getDeviceProperties(0)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(
            f"CUDA was asked for, but no GPU answers ({error}); see 'nvidia-smi', or use --device cpu"
        ) from error


def array_namespace(device: Device) -> Any:
    """NumPy or CuPy, in the array-API standard's clothes."""
    if device == "cpu":
        import array_api_compat.numpy as xp
    else:
        try:
            import array_api_compat.cupy as xp
        except ImportError as error:
            raise DeviceError(
                "CUDA was asked for, but CuPy is not installed; pip install 'onnx-auditor[cuda]', or use --device cpu"
            ) from error
    return xp


def to_host(array: Array) -> np.ndarray:
    """The array as NumPy, copied from the device where it lives on one."""
    return array if isinstance(array, np.ndarray) else array.get()


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fingerprint(device: Device) -> dict[str, str]:
    """Versions and processor that may change a bit of a result."""
    import platform

    ort = _onnxruntime()
    return {
        "onnxruntime": ort.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "cpu": ",".join(sorted(f for f in _cpu_features() if f.startswith(("avx", "amx", "fma", "sse4", "asimd")))),
        "device": device,
    } | (_gpu() if device == "cuda" else {})


def _gpu() -> dict[str, str]:
    import cupy

    runtime = cupy.cuda.runtime
    return {
        "gpu": runtime.getDeviceProperties(0)["name"].decode(),
        "cuda": str(runtime.runtimeGetVersion()),
        "driver": str(runtime.driverGetVersion()),
        "cupy": cupy.__version__,
    }


def _cpu_features() -> list[str]:
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith(("flags", "Features")):
                    return line.split(":", 1)[1].split()
    except OSError:
        pass
    return []


@functools.cache
def _onnxruntime() -> Any:
    import onnxruntime

    if not hasattr(onnxruntime, "InferenceSession"):
        raise DeviceError(
            "the onnxruntime package is broken: onnxruntime and onnxruntime-gpu overwrite each other; "
            "uninstall both and install onnx-auditor again"
        )
    # Our own errors say what went wrong; the C++ log would say it a second time, in other words.
    onnxruntime.set_default_logger_severity(4)
    return onnxruntime


def _providers(device: Device) -> list[Any]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    require(device)
    ort = _onnxruntime()
    import cupy

    ort.preload_dlls(directory="")
    options = {
        "device_id": 0,
        "use_tf32": 0,
        "cudnn_conv_algo_search": "HEURISTIC",
        # One stream for our arithmetic and the provider's kernels: ordered without a synchronisation in between.
        "user_compute_stream": str(_stream(cupy).ptr),
    }
    return [("CUDAExecutionProvider", options)]


@functools.cache
def _stream(cupy: Any) -> Any:
    stream = cupy.cuda.Stream(non_blocking=True)
    stream.use()
    return stream


def _address(array: Array) -> int:
    return array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr


_TOO_LARGE = "a batch did not fit into memory; give a smaller --batch-size, or free memory"


@contextmanager
def _translated() -> Iterator[None]:
    """ONNX Runtime's exceptions as ours."""
    try:
        yield
    except DeviceError:
        raise
    except MemoryError as error:
        raise OutOfMemory(_TOO_LARGE) from error
    except Exception as error:
        text = str(error)
        if "allocate memory" in text or "bad_alloc" in text or "out of memory" in text.lower():
            raise OutOfMemory(_TOO_LARGE) from error
        if type(error).__module__.startswith("onnxruntime"):
            raise ModelError(f"ONNX Runtime cannot run the model: {text.strip().splitlines()[0][:400]}") from error
        raise
