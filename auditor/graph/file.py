"""An upload's bytes from the disk."""

from pathlib import Path

from auditor.errors import ModelError


def read_file(path: Path) -> bytes:
    """The bytes of the file at `path`; ModelError says why there are none."""
    if path.is_dir():
        raise ModelError(f"{path} is a folder; give the path of an ONNX file")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"there is no model at {path}; check the path") from None
    except OSError as error:
        raise ModelError(f"the model at {path} cannot be read: {error.strerror}") from error
