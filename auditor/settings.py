"""What an operator sets, by environment (`AUDITOR_…`) or by flags of `auditor serve` and `auditor worker`."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from auditor.errors import SpecError

_GIB = 1 << 30


@dataclass(frozen=True)
class Settings:
    """One value per `AUDITOR_NAME` in the environment, in upper case. Sizes are bytes, times seconds.

    data: the folder of `auditor serve`: database, artifacts, scratch. database: an SQLAlchemy URL; artifacts: a folder
    or s3://bucket/prefix; redis: the broker, empty for none. Empty ones follow from `data`.
    """

    data: Path = Path("auditor-data")
    database: str = ""
    artifacts: str = ""
    redis: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    url: str = ""  # as users reach it, for links; follows from host and port
    workers: int = 1
    device: str = "cpu"  # cpu, cuda, or one GPU such as cuda:1
    kinds: str = ""  # which work items a worker takes, with commas between; empty: all
    lease: float = 60.0
    max_model_bytes: int = 2 * _GIB
    max_dataset_bytes: int = 8 * _GIB
    max_request_bytes: int = 1 << 20
    check_seconds: float = 120.0  # a model or dataset that takes longer to check is refused
    stage_seconds: float = 6 * 3600.0  # a child that gives no sign for longer is killed, and counts as dead
    sandbox: str = "best-effort"  # of what runs users' models; required: no work without one; or off
    rate_limit: str = "100/second"  # per key; notation of the library `limits`
    webhook_networks: str = "public"  # public: only https to public addresses; any: for tests and closed networks
    metrics_key: str = ""  # what scrapers of /metrics must send as a bearer token; empty: nothing
    log_level: str = "info"
    log_format: str = "json"  # json or console

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None, **flags: object) -> "Settings":
        """Flags that are not None win over the environment, which wins over the defaults. SpecError names a bad one."""
        environment = os.environ if environment is None else environment
        values: dict[str, object] = {}
        for field in fields(cls):
            text = environment.get(f"AUDITOR_{field.name.upper()}")
            given = flags.get(field.name)
            if given is not None:
                values[field.name] = given
            elif text is not None and text != "":
                values[field.name] = _parsed(field.name, text, type(field.default))
        return cls(**values)  # type: ignore[arg-type]

    @property
    def environment(self) -> dict[str, str]:
        """The variables from which `read` makes the same settings in another process."""
        return {f"AUDITOR_{field.name.upper()}": str(getattr(self, field.name)) for field in fields(self)}

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{(self.data / 'auditor.sqlite3').absolute()}"

    @property
    def artifacts_url(self) -> str:
        return self.artifacts or str((self.data / "artifacts").absolute())

    @property
    def public_url(self) -> str:
        return (self.url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def scratch(self) -> Path:
        """Where workers keep copies of models and data and what their children write."""
        return self.data.absolute() / "scratch"


def _parsed(name: str, text: str, kind: Callable[[str], object]) -> object:
    try:
        return kind(text)
    except ValueError:
        raise SpecError(f"AUDITOR_{name.upper()}={text} is not understood; write a number") from None
