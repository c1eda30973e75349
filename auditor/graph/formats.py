"""What a file that is not ONNX is: recognised by its first bytes, so that a refusal can say so."""

_MAGIC = (
    (0, b"version https://git-lfs", "a Git LFS pointer; fetch the file itself with 'git lfs pull'"),
    (0, b"PK\x03\x04", "a zip archive (PyTorch and Keras save such); export the model to ONNX"),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5 (Keras saves such); convert it with tf2onnx"),
    (4, b"TFL3", "TensorFlow Lite; convert it with tf2onnx"),
    (4, b"ORTM", "ONNX Runtime's own ORT format; give the .onnx file that it was made from"),
    (0, b"GGUF", "GGUF; export the model to ONNX"),
    (0, b"\x93NUMPY", "a NumPy array; is it the dataset?"),
    (0, b"\x1f\x8b", "compressed with gzip; unpack it first"),
    (0, b"\x89PNG", "a PNG image; is it the dataset?"),
    (0, b"\xff\xd8\xff", "a JPEG image; is it the dataset?"),
    (8, b'{"', "safetensors, which holds weights without a graph; export the model to ONNX"),
    (0, b"%PDF", "a PDF document"),
)
_PICKLE = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))

# ModelProto's fields by number; every one but ir_version, model_version is length-delimited.
_MODEL_FIELDS = {1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26}


def described(data: bytes) -> str | None:
    """Another format's name and what to do about it; None for what may be ONNX."""
    for offset, magic, name in _MAGIC:
        if data[offset : offset + len(magic)] == magic:
            return name
    if data.startswith(_PICKLE):
        return "a Python pickle (PyTorch and scikit-learn save such), which is never opened; export the model to ONNX"
    if _is_text(data[:512]):
        return "text, beginning with " + repr(data[:40].decode("ascii").split("\n")[0])
    return None


def cut_short(data: bytes) -> str | None:
    """How a damaged ModelProto ends too early, by its outermost fields; None when it does not look like one."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        if tag >> 3 not in _MODEL_FIELDS or tag & 7 not in (0, 2):
            return None
        size, position = _varint(data, position)
        if tag & 7 == 2:
            position += size
    if position > len(data):
        return f"is cut short: it has {len(data)} bytes of at least {position}"
    return None


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    for byte in data[position : position + 10]:
        value |= (byte & 127) << shift
        shift += 7
        position += 1
        if byte < 128:
            break
    else:
        position = max(position, len(data))
    return value, position


def _is_text(start: bytes) -> bool:
    """Printable throughout; a protocol buffer of any length has control bytes other than white space."""
    return len(start) >= 4 and all(32 <= byte < 127 or byte in b"\t\n\r" for byte in start)
