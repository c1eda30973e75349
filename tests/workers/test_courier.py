"""The courier against real HTTP servers: what arrives, what counts as delivered, and what it does not let happen."""

import dataclasses
import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import standardwebhooks
from sqlalchemy import select, update

from auditor import resources
from auditor.operations import webhooks
from auditor.store.tables import Delivery, Webhook
from auditor.workers import courier
from auditor.workers.courier import Courier
from tests.conftest import ROOT
from tests.workers.certificates import tls_pair


class Receiver(ThreadingHTTPServer):
    """Answers as `answer` says and keeps what came."""

    request_queue_size = 128

    def __init__(self, answer=204, headers=()):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.headers, self.came = answer, dict(headers), []
        self.released = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/hook"

    def handle_error(self, request, client_address):
        """A courier that hangs up is what some tests are about."""


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.came.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        if self.server.answer == "silent":
            self.server.released.wait()
            return
        self.send_response(self.server.answer)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.server.answer == 200:  # without end
            while not self.server.released.is_set():
                self.wfile.write(b"x" * 65536)

    def log_message(self, *arguments):
        """Quiet."""


@pytest.fixture
def receiver():
    made = []

    def make(*arguments, **options):
        made.append(Receiver(*arguments, **options))
        return made[-1]

    yield make
    for server in made:
        server.released.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def service(service):
    """A service of a closed network."""
    return dataclasses.replace(service, settings=dataclasses.replace(service.settings, webhook_networks="any"))


@pytest.fixture
def send_to(service, project):
    """Makes a webhook for a URL and leaves it a message; gives the webhook."""

    def send(url):
        hook = webhooks.create(service, project.id, resources.NewWebhook(url=url))
        with service.database.transaction() as session:
            webhooks._leave(session, hook, "audit.done", {"audit_id": "x"})
        return hook

    return send


def only(service):
    with service.database.reading() as session:
        return session.scalars(select(Delivery)).one()


def test_a_message_arrives_signed(service, send_to, receiver):
    server = receiver()
    hook = send_to(server.url)
    assert Courier(service).deliver_due() == 1
    ((path, headers, body),) = server.came
    row = only(service)
    assert path == "/hook"
    assert headers["webhook-id"] == row.id
    assert headers["content-type"] == "application/json"
    event = standardwebhooks.Webhook(hook.secret).verify(body, headers)
    assert (event["type"], event["data"]) == ("audit.done", {"audit_id": "x"})
    assert (row.state, row.status, row.attempt, row.error) == ("delivered", 204, 1, None)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(hook.secret).verify(body + b" ", headers)
    assert Courier(service).deliver_due() == 0


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_other_answers_are_tried_again_with_the_same_id(service, send_to, receiver, status):
    server = receiver(status)
    send_to(server.url)
    Courier(service).deliver_due()
    row = only(service)
    assert (row.state, row.status, row.error) == ("queued", status, f"the receiver answered {status}")
    server.answer = 204
    with service.database.transaction() as session:
        session.execute(update(Delivery).values(not_before=0.0))
    Courier(service).deliver_due()
    assert only(service).state == "delivered"
    first, second = [headers["webhook-id"] for _, headers, _ in server.came]
    assert first == second


def test_a_redirect_is_not_followed(service, send_to, receiver):
    inside = receiver()
    server = receiver(307, headers={"Location": inside.url})
    send_to(server.url)
    Courier(service).deliver_due()
    assert len(server.came) == 1
    assert inside.came == []
    assert "redirects are not followed" in only(service).error


def test_410_disables(service, send_to, receiver):
    hook = send_to(receiver(410).url)
    Courier(service).deliver_due()
    with service.database.reading() as session:
        assert session.get(Webhook, hook.id).disabled_at is not None


def test_an_endless_answer_is_not_read(service, send_to, receiver):
    send_to(receiver(200).url)
    started = time.monotonic()
    Courier(service).deliver_due()
    assert time.monotonic() - started < 5
    assert only(service).state == "delivered"


def test_a_silent_receiver_holds_nobody_up(service, send_to, receiver, monkeypatch):
    monkeypatch.setattr(courier, "_SECONDS", 0.3)
    silent, quick = receiver("silent"), receiver()
    send_to(silent.url)
    send_to(quick.url)
    assert Courier(service).deliver_due() == 2
    assert len(quick.came) == 1
    with service.database.reading() as session:
        found = {row.state: row.error for row in session.scalars(select(Delivery))}
    assert found == {"queued": "no answer within 0.3 seconds", "delivered": None}


def test_who_trickles_headers_is_cut_off_too(service, send_to, monkeypatch):
    monkeypatch.setattr(courier, "_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle():
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.05)

        thread = threading.Thread(target=trickle)
        thread.start()
        send_to(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        Courier(service).deliver_due()
        thread.join(10)
    assert not thread.is_alive()
    assert "no answer within" in only(service).error


def test_what_does_not_speak_http_or_does_not_listen_is_an_error(service, send_to):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    send_to(f"http://127.0.0.1:{port}/")
    Courier(service).deliver_due()
    row = only(service)
    assert (row.state, row.status) == ("queued", None)
    assert row.error


def test_the_address_is_checked_again_when_a_message_is_sent(service, send_to, receiver):
    server = receiver()
    send_to(server.url)
    public = dataclasses.replace(service, settings=dataclasses.replace(service.settings, webhook_networks="public"))
    with service.database.transaction() as session:
        session.execute(update(Webhook).values(url=f"https://rebound.example:{server.server_port}/hook"))
    Courier(public, resolve=lambda host, port: ["127.0.0.1"]).deliver_due()
    assert server.came == []
    assert "not public" in only(service).error


def test_tls_is_checked_against_the_name_while_the_connection_goes_to_the_address(service, receiver, send_to):
    server = receiver()
    serving, trusting = tls_pair("hooks.example")
    server.socket = serving.wrap_socket(server.socket, server_side=True)
    names = []
    serving.sni_callback = lambda connection, name, context: names.append(name)
    send_to(server.url)
    sender = Courier(service, resolve=lambda host, port: ["127.0.0.1"], tls=trusting)
    with service.database.transaction() as session:
        session.execute(update(Webhook).values(url=f"https://hooks.example:{server.server_port}/hook"))
    sender.deliver_due()
    assert only(service).state == "delivered"
    assert names == ["hooks.example"]
    assert server.came[0][1]["host"] == f"hooks.example:{server.server_port}"


def test_a_certificate_of_another_name_is_refused(service, receiver, send_to):
    server = receiver()
    serving, trusting = tls_pair("hooks.example")
    server.socket = serving.wrap_socket(server.socket, server_side=True)
    send_to(server.url)
    with service.database.transaction() as session:
        session.execute(update(Webhook).values(url=f"https://other.example:{server.server_port}/hook"))
    Courier(service, resolve=lambda host, port: ["127.0.0.1"], tls=trusting).deliver_due()
    assert server.came == []
    assert "certificate" in only(service).error.lower()


def test_two_couriers_never_send_the_same_message(service, project, receiver):
    server = receiver()
    hook = webhooks.create(service, project.id, resources.NewWebhook(url=server.url))
    with service.database.transaction() as session:
        for number in range(60):
            webhooks._leave(session, hook, "audit.done", {"number": number})
    threads = [threading.Thread(target=drain, args=(Courier(service),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    ids = [headers["webhook-id"] for _, headers, _ in server.came]
    assert len(ids) == len(set(ids)) == 60


def drain(sender):
    while sender.deliver_due():
        pass


def test_it_runs_until_told_to_stop_and_outlives_errors(service, send_to, receiver, monkeypatch):
    server, stop, failures = receiver(), threading.Event(), iter([True, False])
    take = courier.take

    def failing(*arguments):
        if next(failures, False):
            raise RuntimeError("the database was away")
        return take(*arguments)

    monkeypatch.setattr(courier, "take", failing)
    monkeypatch.setattr(courier, "_IDLE", 0.01)
    send_to(server.url)
    thread = threading.Thread(target=Courier(service).run, args=(stop,))
    thread.start()
    deadline = time.monotonic() + 20
    while not server.came and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    assert len(server.came) == 1


def test_the_documented_receiver_checks_signatures(service, send_to):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "webhooks.md").read_text(), re.DOTALL)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    hook = send_to(f"http://127.0.0.1:{port}/")
    environment = os.environ | {"WEBHOOK_SECRET": hook.secret, "PORT": str(port)}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_for_port(port)
            Courier(service).deliver_due()
            assert only(service).state == "delivered"
            assert process.stdout.readline() == "audit.done {'audit_id': 'x'}\n"
            with service.database.transaction() as session:
                session.execute(update(Delivery).values(state="queued", not_before=0.0))
                session.execute(update(Webhook).values(secret="whsec_" + "A" * 32))
            Courier(service).deliver_due()
            assert only(service).status == 400
        finally:
            process.kill()


def wait_for_port(port):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError("the receiver did not start")
