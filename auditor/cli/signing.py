"""Signed statements on the command line: the key of export in-toto, and the command verify."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from auditor.errors import SpecError


def signed(statement: bytes, key: Path) -> bytes:
    """The statement in an envelope that the key has signed."""
    from auditor.report.dsse import sign
    from auditor.report.formats.in_toto import MEDIA_TYPE

    return sign(statement, MEDIA_TYPE, _content(key))


def verify(
    envelope: Annotated[Path, typer.Argument(metavar="ENVELOPE", help="What export in-toto --key wrote.")],
    key: Annotated[Path, Option(help="The public key, PEM.")],
    model: Annotated[Path | None, Option(help="The model that it has to be about.")] = None,
) -> None:
    """Print the statement of ENVELOPE where the key's owner signed these very bytes; else exit with 64."""
    import hashlib
    import json

    from auditor.report.dsse import opened
    from auditor.report.formats.in_toto import MEDIA_TYPE

    statement = opened(_content(envelope), MEDIA_TYPE, _content(key)).decode()
    if model is not None:
        about = [subject["digest"]["sha256"] for subject in json.loads(statement)["subject"]]
        if hashlib.sha256(_content(model)).hexdigest() not in about:
            raise SpecError(f"the statement is about another model than {model.name}, of sha256 {about[0]}")
    print(statement, end="")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}") from error
