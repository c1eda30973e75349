"""The Celery application: workers on many machines, with Redis as the doorbell.

A message says only that there is work. It carries none, is acknowledged before anything is done, and may be lost,
doubled or late: what is to be done lies in the database, and every worker looks there by itself every few seconds.
"""

import os
import signal
import threading
from contextlib import ExitStack
from typing import Any

from celery import Celery, bootsteps, signals
from celery.worker import state
from sqlalchemy.exc import SQLAlchemyError

from auditor import logs, sandbox
from auditor.errors import SpecError
from auditor.logs import log
from auditor.operations.service import Service, open_service
from auditor.operations.work import presence
from auditor.settings import Settings
from auditor.workers.loop import Worker, devices_of
from auditor.workers.worker import chosen_kinds, worker

TASK = "auditor.ring"
_LOOK = 3.0  # seconds between two looks into the database
_PATIENCE = 2.0  # seconds for which a worker waits for more before it gives up its child

app = Celery("auditor", broker=Settings.read().redis or None)
app.conf.update(
    task_default_queue="auditor",
    task_serializer="json",
    accept_content=["json"],
    task_ignore_result=True,
    task_acks_late=False,
    worker_pool="prefork",
    worker_pool_start_method="spawn",  # CUDA does not survive a fork
    worker_concurrency=1,
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=True,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={"socket_connect_timeout": 5, "socket_timeout": 30, "socket_keepalive": True},
)


@app.task(name=TASK)
def ring() -> None:
    """Do what there is to do; SIGTERM has it given back."""
    # Here and not when the process begins: the pool sets its own handler, which ends it at once, after that.
    idle = signal.signal(signal.SIGTERM, lambda number, frame: _here.worker.stopping.set())
    try:
        _here.worker.drain(_PATIENCE)
    finally:
        signal.signal(signal.SIGTERM, idle)


class _Here:
    """This pool process's worker, made when the process begins."""

    worker: Worker

    def __init__(self) -> None:
        self._open = ExitStack()

    def begin(self, **_: Any) -> None:
        self.worker = self._open.enter_context(worker(Settings.read()))

    def end(self, **_: Any) -> None:
        self._open.close()


_here = _Here()
signals.worker_process_init.connect(_here.begin)
signals.worker_process_shutdown.connect(_here.end)


@signals.setup_logging.connect
def _configure_logs(**_: Any) -> None:
    logs.configure(Settings.read())


class Lookout(bootsteps.StartStopStep):
    """In the main process: rings by itself when work waits and the pool is idle, and on shutdown has the pool's process
    give back what it is doing."""

    requires = {"celery.worker.components:Pool"}

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._stopping = threading.Event()

    def start(self, parent: Any) -> None:
        settings = Settings.read()
        looking = (open_service(settings), chosen_kinds(settings), devices_of(settings.device))
        threading.Thread(target=self._look, args=looking, name="lookout", daemon=True).start()

    def close(self, parent: Any) -> None:
        self._stopping.set()
        for pid in parent.pool.info["processes"]:
            os.kill(pid, signal.SIGTERM)

    def _look(self, service: Service, kinds: tuple[str, ...], devices: tuple[str, ...]) -> None:
        while not self._stopping.wait(_LOOK):
            try:
                if not state.active_requests and presence.waits(service, kinds, devices):
                    service.ring()
            except SQLAlchemyError as error:
                log.warning("lookout.failed", error=str(error))


app.steps["worker"].add(Lookout)


def main(settings: Settings) -> None:
    """A Celery worker with one pool process, until SIGTERM or Ctrl-C.

    Raises SpecError without a broker, and without a sandbox where one is required.
    """
    if not settings.redis:
        raise SpecError("a Celery worker needs a broker: set AUDITOR_REDIS, such as redis://127.0.0.1:6379/0")
    sandbox.check(settings.sandbox)
    os.environ.update(settings.environment)  # its pool process reads them again
    app.conf.broker_url = settings.redis
    app.worker_main(
        ["--quiet", "worker", "--without-gossip", "--without-mingle", "--loglevel", settings.log_level.upper()]
    )
