"""Logs: one line per event, whoever wrote it, and no secret in any."""

import json
import logging

import pytest

from auditor.errors import SpecError
from auditor.logs import bound, configure, log
from auditor.settings import Settings


@pytest.fixture
def lines(capsys):
    """Configures JSON logs; calling it gives what was written since, parsed."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    configure(Settings())
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    root.handlers[:] = before
    root.setLevel(level)


def test_a_line_carries_the_ids_that_are_bound(lines):
    with bound(audit_id="a1", item="slice-00003", attempt=2):
        log.info("stage.saved", attack="apgd")
    log.info("idle")
    first, second = lines()
    assert first["event"] == "stage.saved"
    assert (first["audit_id"], first["item"], first["attempt"], first["attack"]) == ("a1", "slice-00003", 2, "apgd")
    assert first["level"] == "info"
    assert first["timestamp"].endswith("Z")
    assert "audit_id" not in second


def test_records_of_libraries_take_the_same_form_once(lines):
    for name in ("uvicorn.error", "celery", "kombu"):
        logging.getLogger(name).warning("lost %s", "the broker")
    assert [(line["logger"], line["event"]) for line in lines()] == [
        ("uvicorn.error", "lost the broker"),
        ("celery", "lost the broker"),
        ("kombu", "lost the broker"),
    ]


def test_nothing_below_the_level_is_written(lines):
    log.debug("detail")
    assert lines() == []


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("key aud_k3Jd92aB_S3cr3t-x_yz was used", "aud_k3Jd92aB_***"),
        ("Authorization: Bearer S3cr3t.x", "Bearer ***"),
        ("signed with whsec_S3cr3tabc=", "whsec_***"),
        ("GET /api/v1/shared/S3cr3t/report.json", "/shared/***/report.json"),
        ("postgresql://auditor:S3cr3t@db/auditor is down", "://auditor:***@db"),
    ],
)
def test_secrets_in_a_text_are_hidden(lines, text, kept):
    log.warning(text)
    logging.getLogger("uvicorn.error").error("%s", text)
    written = lines()
    assert len(written) == 2
    for line in written:
        assert "S3cr3t" not in json.dumps(line)
        assert kept in line["event"]


def test_secrets_in_fields_and_tracebacks_are_hidden(lines):
    try:
        raise ValueError("redis://:S3cr3t@redis:6379 refused")
    except ValueError:
        log.exception("failed", authorization="S3cr3t", webhook_secret="S3cr3t")
    (line,) = lines()
    assert "S3cr3t" not in json.dumps(line)
    assert "ValueError" in line["exception"]
    assert line["authorization"] == "***"


def test_unknown_levels_and_formats_are_refused():
    with pytest.raises(SpecError, match="AUDITOR_LOG_LEVEL=loud"):
        configure(Settings(log_level="loud"))
    with pytest.raises(SpecError, match="AUDITOR_LOG_FORMAT=xml"):
        configure(Settings(log_format="xml"))


def test_the_console_form_is_for_eyes(lines, capsys):
    configure(Settings(log_format="console"))
    try:
        raise ValueError("redis://:S3cr3t@redis:6379 refused")
    except ValueError:
        log.exception("failed", item="slice-00001")
    written = capsys.readouterr().err
    assert "failed" in written
    assert "slice-00001" in written
    assert "S3cr3t" not in written
