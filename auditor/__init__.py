"""auditor: attacks uploaded ONNX classifiers and reports how robust they are, and how sure that is."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditor.classifier import load_classifier

__version__ = "0.1.0"
__all__ = ["__version__", "load_classifier"]


def __getattr__(name: str) -> object:
    """load_classifier, imported only when it is asked for: it brings NumPy and ONNX along."""
    if name == "load_classifier":
        from auditor.classifier import load_classifier

        return load_classifier
    raise AttributeError(f"module 'auditor' has no attribute '{name}'")
