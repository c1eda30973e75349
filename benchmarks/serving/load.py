"""Requests on schedule, whether or not earlier ones have been answered: python load.py < {"host", "key", "paths", "rate"}

A request's time counts from the moment at which it was to be sent, so that a service that stalls is charged for all
who would have come meanwhile. How late the sender itself was tells what of it is the machine's.
"""

import http.client
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_AT_ONCE = 256


class _Sender:
    """Sends GETs, each thread over a connection of its own."""

    def __init__(self, host: str, key: str) -> None:
        self._host, self._mine = host, threading.local()
        self._headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}

    def send(self, path: str, due: float) -> tuple[float, int]:
        """(seconds since it was due, status)."""
        try:
            status = self._status(path)
        except (ConnectionError, http.client.HTTPException):  # the service has closed it after some idle seconds
            self._mine.connection.close()
            status = self._status(path)
        return time.monotonic() - due, status

    def _status(self, path: str) -> int:
        if not hasattr(self._mine, "connection"):
            self._mine.connection = http.client.HTTPConnection(self._host, timeout=60)
        self._mine.connection.request("GET", path, headers=self._headers)
        answer = self._mine.connection.getresponse()
        answer.read()
        return int(answer.status)


def run(host: str, key: str, paths: list[str], rate: float) -> list[tuple[float, int, float]]:
    """Every path once, `rate` a second; of each the seconds, the status, and the seconds by which it was sent late."""
    sender, begin, sent = _Sender(host, key), time.monotonic(), []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for number, path in enumerate(paths):
            due = begin + number / rate
            time.sleep(max(0.0, due - time.monotonic()))
            sent.append((pool.submit(sender.send, path, due), time.monotonic() - due))
        return [(*future.result(), late) for future, late in sent]


if __name__ == "__main__":
    asked: dict[str, Any] = json.load(sys.stdin)
    json.dump(run(**asked), sys.stdout)
