"""The client for code that runs in an event loop (asyncio)."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing, closing
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from auditor.client.calls import auditing, naming, results, tenancy, uploads
from auditor.client.connection import arguments, connection, lost
from auditor.client.steps import Answer, Call, Give, Pause, Read, Request, Step, Stream, given, method_of

P = ParamSpec("P")
T = TypeVar("T")


def _does(call: Callable[P, Call[T]]) -> "Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]":
    """A method that does a call and gives its result."""

    async def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        async with aclosing(self._values(given(call(*args, **kwargs)))) as values:
            return await anext(values)

    return method_of(call, method)


def _iterates(call: Callable[P, Stream[T]]) -> "Callable[Concatenate[AsyncClient, P], AsyncIterator[T]]":
    """A method that iterates over what a call gives."""

    def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return self._values(call(*args, **kwargs))

    return method_of(call, method)


class AsyncClient:
    """A service, by its URL and an API key; the same as `Client`, awaited."""

    def __init__(
        self, url: str | None = None, api_key: str | None = None, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._http = httpx.AsyncClient(**connection(url, api_key), transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    upload_model = _does(uploads.upload_model)
    upload_dataset = _does(uploads.upload_dataset)

    audit = _does(auditing.audit)
    get = _does(auditing.get)
    audits = _iterates(auditing.audits)
    events = _iterates(auditing.events)
    wait = _does(auditing.wait)
    cancel = _does(auditing.cancel)
    extend = _does(auditing.extend)
    delete_audit = _does(auditing.delete_audit)

    report = _does(results.report)
    result = _does(results.result)
    curves = _does(results.curves)
    outcomes = _iterates(results.outcomes)
    examples = _iterates(results.examples)
    example = _does(results.example)
    compare = _does(results.compare)
    comparison = _does(results.comparison)
    download_comparison = _does(results.download_comparison)
    artifacts = _iterates(results.artifacts)
    download = _does(results.download)

    models = _iterates(naming.models)
    model = _does(naming.model)
    change_model = _does(naming.change_model)
    versions = _iterates(naming.versions)
    version = _does(naming.version)
    set_alias = _does(naming.set_alias)
    delete_alias = _does(naming.delete_alias)
    delete_version = _does(naming.delete_version)
    delete_model = _does(naming.delete_model)
    datasets = _iterates(naming.datasets)
    dataset = _does(naming.dataset)
    delete_dataset = _does(naming.delete_dataset)

    project = _does(tenancy.project)
    set_quotas = _does(tenancy.set_quotas)
    keys = _iterates(tenancy.keys)
    create_key = _does(tenancy.create_key)
    revoke_key = _does(tenancy.revoke_key)
    webhooks = _iterates(tenancy.webhooks)
    create_webhook = _does(tenancy.create_webhook)
    delete_webhook = _does(tenancy.delete_webhook)
    deliveries = _iterates(tenancy.deliveries)
    links = _iterates(tenancy.links)
    create_link = _does(tenancy.create_link)
    revoke_link = _does(tenancy.revoke_link)

    async def _values(self, stream: Stream[T]) -> AsyncGenerator[T, None]:
        """Do what a call asks for, step by step; yields what it gives."""
        wire = _Wire(self._http)
        resume: Callable[[Any], Step | Give[T]] = stream.send
        told: Any = None
        with closing(stream):
            async with aclosing(wire):
                while True:
                    try:
                        step = resume(told)
                    except StopIteration:
                        return
                    resume, told = stream.send, None
                    if isinstance(step, Give):
                        yield step.value
                        continue
                    try:
                        told = await wire.do(step)
                    except httpx.TransportError as error:
                        resume, told = stream.throw, lost(error, self._http.base_url)


class _Wire:
    """Does steps; at most one answer is streamed at a time."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None

    async def do(self, step: Step) -> Answer | bytes | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        if isinstance(step, Read):
            return b"" if self._chunks is None else await anext(self._chunks, b"")
        return await self._send(step)

    async def _send(self, request: Request) -> Answer:
        await self.aclose()
        response = await self._http.send(self._http.build_request(**arguments(request)), stream=True)
        self._response = response
        if request.stream and response.status_code == 200:
            self._chunks = response.aiter_bytes()
            return Answer(response.status_code, response.headers)
        body = await response.aread()
        await self.aclose()
        return Answer(response.status_code, response.headers, body)

    async def aclose(self) -> None:
        if self._response is not None:
            await self._response.aclose()
            self._response = None
