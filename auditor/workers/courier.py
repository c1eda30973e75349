"""Sends webhook messages: signed, to the address that was checked, within ten seconds, following no redirect."""

import asyncio
import ssl
import threading
from datetime import UTC, datetime

import httpx
import standardwebhooks

import auditor
from auditor.errors import AuditorError
from auditor.logs import log
from auditor.operations.deliveries import Answer, Message, record, take
from auditor.operations.destinations import Destination, Resolve, destination, system_resolver
from auditor.operations.service import Service

_SECONDS = 10.0  # for one message, from the look-up of the name to the answer's headers
_LEASE = 120.0
_AT_ONCE = 20
_IDLE = 2.0


class Courier:
    """Delivers what is due. Any number of couriers, in any processes, may work on one database.

    resolve: how names become addresses; tls: what certificates are checked against (the default: public authorities).
    """

    def __init__(
        self, service: Service, *, resolve: Resolve = system_resolver, tls: ssl.SSLContext | None = None
    ) -> None:
        self._service, self._resolve = service, resolve
        self._tls = tls or httpx.create_ssl_context()

    def run(self, stop: threading.Event) -> None:
        """Deliver until told to stop; an error is logged and does not end it."""
        while not stop.is_set():
            try:
                delivered = self.deliver_due()
            except Exception:
                log.exception("webhook.courier_failed")
                delivered = 0
            stop.wait(0.0 if delivered else _IDLE)

    def deliver_due(self) -> int:
        """Send the messages whose time has come, some of them at once, and note what became of each; how many."""
        messages = take(self._service, _AT_ONCE, _LEASE)
        if messages:
            answers = asyncio.run(self._send_all(messages))
            for message, answer in zip(messages, answers, strict=True):
                record(self._service, message, answer)
                log.info("webhook.sent", delivery_id=message.id, attempt=message.attempt, error=answer.error)
        return len(messages)

    async def _send_all(self, messages: list[Message]) -> list[Answer]:
        return await asyncio.gather(*map(self._send, messages))

    async def _send(self, message: Message) -> Answer:
        try:
            async with asyncio.timeout(_SECONDS):
                return _judged(await self._status(message))
        except TimeoutError:
            return Answer(None, f"no answer within {_SECONDS:g} seconds")
        except (httpx.HTTPError, OSError, AuditorError) as error:
            return Answer(None, str(error)[:500] or type(error).__name__)
        except Exception as error:  # whatever one receiver does, the other messages go out
            log.exception("webhook.send_failed", delivery_id=message.id)
            return Answer(None, f"sending failed: {type(error).__name__}")

    async def _status(self, message: Message) -> int:
        networks = self._service.settings.webhook_networks
        place = await asyncio.to_thread(destination, message.url, networks, self._resolve)
        request = httpx.Request("POST", place.url, headers=_headers(message), content=message.body.encode())
        async with httpx.AsyncHTTPTransport(verify=self._tls) as transport:
            answer = await transport.handle_async_request(_pinned(request, place))
            await answer.aclose()  # its body is nobody's business: not read, so that it cannot be large or slow
            return answer.status_code


def _pinned(request: httpx.Request, place: Destination) -> httpx.Request:
    """The same request, to be sent to the address that was checked; the name stays in Host and in TLS."""
    request.extensions["sni_hostname"] = request.url.raw_host.decode("ascii")
    request.extensions["timeout"] = httpx.Timeout(_SECONDS).as_dict()
    request.url = request.url.copy_with(host=place.address)
    return request


def _headers(message: Message) -> dict[str, str]:
    at = datetime.now(UTC)
    return {
        "content-type": "application/json",
        "user-agent": f"auditor/{auditor.__version__}",
        "webhook-id": message.id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": standardwebhooks.Webhook(message.secret).sign(message.id, at, message.body),
    }


def _judged(status: int) -> Answer:
    if 200 <= status < 300:
        return Answer(status, None)
    if 300 <= status < 400:
        return Answer(status, f"the receiver answered {status}; redirects are not followed")
    return Answer(status, f"the receiver answered {status}")
