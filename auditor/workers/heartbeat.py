"""The thread that keeps a work item while it is being done."""

import contextvars
import threading
from types import TracebackType

from sqlalchemy.exc import SQLAlchemyError

from auditor.logs import log
from auditor.operations.service import Service
from auditor.operations.work import items
from auditor.queue import Claim, LeaseLost

_CANCELLATION = 1.0  # seconds after which a cancellation is seen at the latest


class Heartbeat:
    """Extends a claim's lease for as long as the block runs. Its flags say why the work should stop, if it should.

    A database that does not answer stops nothing: the fence of the next write decides.
    """

    def __init__(self, service: Service, claim: Claim) -> None:
        self._service, self._claim = service, claim
        self._every = min(service.settings.lease / 4, _CANCELLATION)
        self._ended = threading.Event()
        context = contextvars.copy_context()  # the ids of its log lines
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="heartbeat", daemon=True)
        self.cancelled = self.lost = False

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self.lost and not self._ended.wait(self._every):
            try:
                self.cancelled = not items.heartbeat(self._service, self._claim)
            except LeaseLost:
                self.lost = True
            except SQLAlchemyError as error:
                log.warning("heartbeat.failed", error=str(error))
