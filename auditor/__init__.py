"""auditor: attacks uploaded ONNX classifiers and reports how robust they are, and how sure that is."""

__version__ = "0.1.0"
