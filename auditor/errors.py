"""What can go wrong, as types.

    AuditorError            the audit could not be done (exit code 1)
    ├── InputError          something given to us is wrong: model, dataset or request (exit code 64)
    │   ├── ModelError      the ONNX file: unreadable, not a classifier, unsafe
    │   ├── DatasetError    the examples or labels
    │   └── SpecError       the request: threat, eps, attack, option
    ├── NoGradient          a node on the path from the input to the scores has no gradient
    ├── DeviceError         the device that was asked for is not there
    ├── OutOfMemory         a batch did not fit
    ├── OutOfTime           the wall-time budget ended
    └── Damaged             stored or sent bytes are not what was written

A message says what was wrong, where, and what to do about it, in sentences a user can read.
"""


class AuditorError(Exception):
    """The audit could not be done."""

    exit_code = 1


class InputError(AuditorError):
    """Something that was given to us is wrong; the message says what, where, and how to mend it."""

    exit_code = 64


class ModelError(InputError):
    """The ONNX file cannot be audited as it is."""


class DatasetError(InputError):
    """The dataset cannot be read, or does not fit the model."""


class SpecError(InputError):
    """The request asks for something that does not exist or makes no sense."""


class NoGradient(AuditorError):
    """A node between the attacked input and the class scores has no gradient rule."""

    def __init__(self, operator: str, node: str, why: str) -> None:
        super().__init__(f"{operator} (node '{node}'): {why}")
        self.operator = operator
        self.node = node
        self.why = why


class DeviceError(AuditorError):
    """The device that was asked for is not there, or the runtime silently left it."""


class OutOfMemory(AuditorError):
    """A batch did not fit into memory; a smaller one may."""


class OutOfTime(AuditorError):
    """The wall-time budget ended; what is finished stays."""


class Damaged(AuditorError):
    """Bytes that were stored or sent are not what was written."""


class AuditorWarning(UserWarning):
    """Something a user should know that does not stop the audit."""
