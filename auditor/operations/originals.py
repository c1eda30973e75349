"""Examples of a dataset, for people to look at: read one by one, where the file lets them be found."""

import io

import numpy as np

from auditor.audits.outcomes import example_digests
from auditor.data.arrays import dataset_of_arrays, stored_row
from auditor.data.preprocessing import Preprocessing
from auditor.errors import DatasetError
from auditor.operations import datasets
from auditor.operations.adversarial import Stored
from auditor.operations.audits import find
from auditor.operations.errors import NotFound
from auditor.operations.service import Service
from auditor.report.schema import Report
from auditor.store.artifacts import blob_key
from auditor.store.tables import Dataset

_BLOCK = 1 << 16
_READ = ".npz"


def stored(service: Service, project_id: str, dataset: str, example: int) -> np.ndarray:
    """An example as the dataset's file holds it. Raises NotFound, also where it cannot be read by itself: in anything but
    `.npz`."""
    with service.database.reading() as session:
        row = datasets.resolve(session, project_id, dataset)
    try:
        return _row(service, row, example)
    except DatasetError as error:
        raise NotFound(str(error)) from None


def original(
    service: Service, project_id: str, audit_id: str, report: Report, example: int, shape: tuple[int, ...]
) -> np.ndarray | None:
    """The input of an audited example before any change, float32 of the model's shape, in the domain. report: of the audit.

    None where it cannot be read by itself: in anything but `.npz`, or where it was prepared in a way that only the audit
    knew. What is given has the digest that the report has of the example. Raises NotFound.
    """
    with service.database.reading() as session:
        row = session.get_one(Dataset, find(session, project_id, audit_id).audit.dataset_id)
    position = report.dataset.index.index(example) if example in report.dataset.index else None
    if position is None:
        return None
    domain, layout = report.dataset.domain, report.model.input.get("layout")
    try:
        one = _row(service, row, example)[None]
        x = dataset_of_arrays(row.filename, one, None, shape, layout, domain, Preprocessing(), {}).fetch(
            np.zeros(1, int)
        )
    except DatasetError:
        return None
    label = np.array([report.dataset.label[position]])
    return x[0] if example_digests(x, label) == (report.dataset.digest[position],) else None


def _row(service: Service, row: Dataset, example: int) -> np.ndarray:
    if not row.filename.lower().endswith(_READ):
        raise DatasetError(f"examples of {row.filename} cannot be read one by one")
    file = io.BufferedReader(Stored(service.artifacts, blob_key(row.sha256), row.size), _BLOCK)
    return stored_row(file, row.filename, example)
