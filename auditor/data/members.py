"""The files of a folder or zip, under the same names either way."""

import os
import posixpath
import stat
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from auditor.errors import DatasetError

MAX_MEMBERS = 2_000_000
MAX_MEMBER_BYTES = 256 << 20

_IGNORED = ("__MACOSX", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Members:
    """names: relative paths with '/', sorted, without hidden files and without folders around everything. read: the bytes of one of them.

    `read` raises DatasetError for a file that is gone, damaged, encrypted or larger than MAX_MEMBER_BYTES.
    """

    names: tuple[str, ...]
    read: Callable[[str], bytes]


def members_of_folder(path: Path) -> Members:
    """All files under a folder; links to folders are not followed."""
    names = [
        (Path(parent) / file).relative_to(path).as_posix() for parent, _, files in os.walk(path) for file in files
    ]
    shown, prefix = _unwrapped(names)

    def read(name: str) -> bytes:
        file = path / (prefix + name)
        try:
            _check_size(file.stat().st_size, name, path.name)
            return file.read_bytes()
        except OSError as error:
            raise DatasetError(f"{path.name}: {name} cannot be read: {error.strerror}.") from None

    return Members(shown, read)


def members_of_zip(file: Path | BinaryIO, name: str) -> Members:
    """All files of a zip, named so in messages. Raises DatasetError for names that lead out of it, links, and what is not a
    zip."""
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError) as error:
        raise DatasetError(f"{name} is not a zip archive ({error}).") from None
    infos = {info.filename: info for info in archive.infolist() if not info.is_dir()}
    if len(infos) > MAX_MEMBERS:
        raise DatasetError(f"{name} holds {len(infos)} files, more than the {MAX_MEMBERS} allowed.")
    for info in infos.values():
        _check_entry(info, name)
    shown, prefix = _unwrapped(list(infos))

    def read(member: str) -> bytes:
        try:
            return archive.read(infos[prefix + member])
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError) as error:
            raise DatasetError(f"{name}: {member} is damaged or encrypted ({error}).") from None

    return Members(shown, read)


def _unwrapped(names: list[str]) -> tuple[tuple[str, ...], str]:
    """-> (the names that count, sorted, without the folders around all of them; those folders)

    A zipped folder and a zip of its contents are thus the same, and one folder alone names no classes.
    """
    shown = sorted(filter(_is_shown, names))
    shared = posixpath.commonpath([posixpath.dirname(name) for name in shown]) if shown else ""
    prefix = f"{shared}/" if shared else ""
    return tuple(name[len(prefix) :] for name in shown), prefix


def _check_entry(info: zipfile.ZipInfo, archive: str) -> None:
    name = PurePosixPath(info.filename)
    if name.is_absolute() or ".." in name.parts or "\\" in info.filename or ":" in name.parts[0]:
        raise DatasetError(f"{archive}: the name '{info.filename}' leads out of the archive; zip the folder again.")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise DatasetError(f"{archive}: '{info.filename}' is a link; zip the file it stands for.")
    _check_size(info.file_size, info.filename, archive)


def _check_size(size: int, name: str, container: str) -> None:
    if size > MAX_MEMBER_BYTES:
        raise DatasetError(
            f"{container}: {name} has {size >> 20} MiB, more than the {MAX_MEMBER_BYTES >> 20} MiB one file may have."
        )


def _is_shown(name: str) -> bool:
    return not any(part.startswith(".") or part in _IGNORED for part in PurePosixPath(name).parts)
