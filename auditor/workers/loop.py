"""The loop of a worker: claim a work item, do it, claim the next. The same under `auditor serve` and under Celery.

A worker holds the database and its child holds the model, so that a child can be killed at any time and whatever
happens to it, the worker can say so.
"""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.exc import OperationalError

from auditor.errors import AuditorError, OutOfTime
from auditor.logs import bound, log
from auditor.operations.service import Service
from auditor.operations.work import attacking, items
from auditor.queue import Claim, LeaseLost
from auditor.store.artifacts import StoreError
from auditor.workers import steps
from auditor.workers.child_process import ChildDied, ChildRefused
from auditor.workers.desk import Desk
from auditor.workers.heartbeat import Heartbeat
from auditor.workers.inputs import Interrupted

_IDLE = (0.1, 1.0)  # seconds between two looks into an empty queue: at first, and after doubling
_PATIENCE = 5.0  # seconds without work after which a warm child is given up
# What comes of the model, the data or the request alone; anything else may pass, and is tried again.
_REFUSALS = ("InputError", "ModelError", "DatasetError", "SpecError", "NoGradient", "OutOfMemory")


class Worker:
    """One worker. owner: a name that no other has; folder: an empty place on this machine that is its own; kinds: of
    work items; device: cpu or cuda (which does items for the CPU too). One thread calls it."""

    def __init__(
        self, service: Service, owner: str, folder: Path, *, kinds: Sequence[str] = steps.KINDS, device: str = "cpu"
    ) -> None:
        self.service, self.owner, self.kinds = service, owner, tuple(kinds)
        self.devices = devices_of(device)
        self.stopping = threading.Event()
        self._folder = folder
        self._desk: Desk | None = None
        self._spare: Desk | None = None
        self._worked_at = time.monotonic()
        self._desks = 0

    def run(self) -> None:
        """Work until told to stop, by `stopping`: what is being done then is given back."""
        idle = _IDLE[0]
        while not self.stopping.is_set():
            if self._tried():
                idle = _IDLE[0]
            else:
                self._make_ready()
                self.stopping.wait(idle)
                idle = min(2 * idle, _IDLE[1])
        self.close()

    def drain(self, patience: float) -> None:
        """Work until there has been nothing to do for `patience` seconds."""
        self._worked_at = time.monotonic()
        while not self.stopping.is_set() and time.monotonic() - self._worked_at < patience:
            if not self._tried():
                self.stopping.wait(_IDLE[0])
        self.rest()
        self._make_ready()

    def run_once(self) -> bool:
        """Claim one work item and do it; False when there is none."""
        prefer = None if self._desk is None else self._desk.about
        claim = items.claim(self.service, self.owner, kinds=self.kinds, devices=self.devices, prefer=prefer)
        if claim is None:
            if time.monotonic() - self._worked_at > _PATIENCE:
                self.rest()
            return False
        with bound(audit_id=claim.audit_id, item=claim.name, attempt=claim.attempt):
            self._do(claim)
        self._worked_at = time.monotonic()
        return True

    def rest(self) -> None:
        """Give back the memory of the child, if there is one."""
        if self._desk is not None:
            self._desk.close()
            self._desk = None

    def close(self) -> None:
        """End every child."""
        self.rest()
        if self._spare is not None:
            self._spare.close()
            self._spare = None

    def _make_ready(self) -> None:
        """Have a child load what every audit needs, so that the next one need not wait for it."""
        if self._desk is None and self._spare is None and not self.stopping.is_set():
            self._spare = self._new_desk()

    def _tried(self) -> bool:
        try:
            return self.run_once()
        except Exception:  # the database is away, say: the item's lease ends by itself, and the worker must not
            log.exception("worker.failed")
            self.rest()
            self.stopping.wait(_IDLE[1])
            return False

    def _do(self, claim: Claim) -> None:
        log.info("item.claimed", kind=claim.kind)
        try:
            with Heartbeat(self.service, claim) as heartbeat:
                self._attempt(claim, heartbeat)
        except LeaseLost:
            log.warning("item.lost")
            self.rest()

    def _attempt(self, claim: Claim, heartbeat: Heartbeat) -> None:
        """Do the item; whatever comes of it is recorded, unless the claim was lost or the database is away."""
        began = time.monotonic()

        def spent() -> float:
            return time.monotonic() - began

        def stop() -> bool:
            return heartbeat.cancelled or heartbeat.lost or self.stopping.is_set() or self._late(claim, spent())

        try:
            steps.do(self.service, claim, self._desk_for(claim), stop, spent)
            log.info("item.done", seconds=round(spent(), 3))
        except (LeaseLost, OperationalError):
            raise
        except OutOfTime as error:
            log.info("item.cut", error=str(error))
            attacking.out_of_time(self.service, claim, str(error), spent())
        except ChildRefused as error:
            log.info("item.refused", kind=error.kind, error=str(error))
            if error.kind in _REFUSALS:
                items.refused(self.service, claim, error.kind, str(error), spent())
            else:
                items.died(self.service, claim, str(error), spent())
        except (ChildDied, Interrupted) as error:
            self._stopped(claim, heartbeat, str(error), spent())
        except AuditorError as error:
            log.error("item.failed", error=str(error))
            self.rest()
            items.died(self.service, claim, str(error), spent())
        except (OSError, StoreError) as error:  # no room on the disk, no artifact store: the item is not to blame
            log.exception("worker.failed")
            self.rest()
            items.lost(self.service, claim, _told(error), spent())
        except Exception as error:  # what a child says is not to be trusted, and must not stop the worker
            log.exception("item.failed")
            self.rest()
            items.died(self.service, claim, _told(error), spent())
        if claim.audit_id is None:
            self.rest()

    def _stopped(self, claim: Claim, heartbeat: Heartbeat, error: str, seconds: float) -> None:
        """The child is gone: because it was told to go, or by itself."""
        self.rest()
        if heartbeat.lost:
            raise LeaseLost(f"the lease of {claim.name} was lost at work")
        if heartbeat.cancelled:
            log.info("item.cancelled")
            items.cancelled(self.service, claim, seconds)
        elif self.stopping.is_set():
            log.info("item.given_back")
            items.give_back(self.service, claim, seconds)
        elif self._late(claim, seconds):
            limit = self.service.settings.check_seconds
            items.refused(self.service, claim, "InputError", f"the check took longer than {limit:g} seconds", seconds)
        else:
            log.error("child.died", error=error)
            items.died(self.service, claim, error, seconds)

    def _late(self, claim: Claim, seconds: float) -> bool:
        return claim.kind == "check" and seconds > self.service.settings.check_seconds

    def _desk_for(self, claim: Claim) -> Desk:
        about = claim.audit_id or claim.id
        if self._desk is not None and self._desk.about != about:
            self.rest()
        if self._desk is None:
            self._desk, self._spare = self._living_spare() or self._new_desk(), None
            self._desk.about = about
        return self._desk

    def _living_spare(self) -> Desk | None:
        """The desk made in advance, unless its child died while it waited, which is no item's fault."""
        if self._spare is not None and not self._spare.alive:
            self._spare.close()
            return None
        return self._spare

    def _new_desk(self) -> Desk:
        self._desks += 1
        return Desk(self.service, self._folder / f"{self._desks:05}")


def _told(error: Exception) -> str:
    """The kind of error for users, and below it for the operator what it says."""
    return f"the worker failed with {type(error).__name__}\n{error}"


def devices_of(device: str) -> tuple[str, ...]:
    """Whose work items a worker may take: one with a GPU does those for the CPU too."""
    return ("cuda", "cpu") if device.startswith("cuda") else ("cpu",)
