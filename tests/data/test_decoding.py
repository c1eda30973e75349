"""Images decoded in a process of their own: the same pixels, and nothing that a file does there reaches this one."""

import gc
import io
import os
import signal
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from auditor.data import decoding, pictures
from auditor.data.decoding import Apart, Here
from auditor.data.pictures import Picture
from auditor.data.read import read_dataset
from auditor.errors import DatasetError


def encoded(kind="PNG", size=(9, 7), mode="RGB"):
    levels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(levels).convert(mode).save(file, kind)
    return file.getvalue()


def picture(channels=3, height=7, width=9, **said):
    chosen = {"grayscale": channels == 1, "resize": None, "crop": None, "interpolation": "bilinear"}
    return Picture(channels, height, width, **chosen | said)


@pytest.fixture(scope="module")
def apart():
    return Apart()


PICTURES = [
    ("PNG", "RGB", picture()),
    ("JPEG", "RGB", picture(height=5, width=6, resize=(5, 6), interpolation="bicubic")),
    ("WEBP", "RGB", picture(height=4, width=4, resize=5, crop=(4, 4))),
    ("PNG", "L", picture(channels=1)),
    ("PNG", "RGB", picture(grayscale=True)),
    ("TIFF", "CMYK", picture()),
    ("BMP", "1", picture(channels=1, height=14, width=18, resize=(14, 18), interpolation="nearest")),
]


@pytest.mark.parametrize(("kind", "mode", "wanted"), PICTURES)
def test_another_process_gives_the_same_pixels(apart, kind, mode, wanted):
    content = encoded(kind, mode=mode)
    levels = apart.pixels(content, "a", wanted)
    assert levels.shape == (wanted.height, wanted.width, wanted.channels)
    assert np.array_equal(levels, Here().pixels(content, "a", wanted))
    assert apart.size(content, "a") == Here().size(content, "a") == (9, 7)


def test_a_folder_is_the_same_dataset(apart, tmp_path):
    for name in ("cat/a.png", "dog/b.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(encoded())
    here, there = (read_dataset(tmp_path, shape=(3, 4, 4), decoder=decoder) for decoder in (None, apart))
    assert here.fetch(np.arange(2)).tobytes() == there.fetch(np.arange(2)).tobytes()


def bomb():
    """A PNG of a few bytes that says it is 60,000 pixels wide and high."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 99))]
    parts = [
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in (*chunks, (b"IEND", b""))
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


REFUSED = {
    "no image": (b"GIF89a not one", "is not a readable image"),
    "a damaged image": (encoded()[:-60], "is a damaged image"),
    "too many pixels": (bomb(), "far larger decoded than allowed|60000 x 60000 pixels, more than"),
    "another size": (encoded(size=(8, 8)), "comes out at 8 x 8 pixels"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_image_is_refused_in_the_same_words(apart, name):
    content, why = REFUSED[name]
    said = []
    for decoder in (Here(), apart):
        with pytest.raises(DatasetError, match=why) as refused:
            decoder.pixels(content, "x.png", picture())
        said.append(str(refused.value))
    assert said[0] == said[1]
    assert apart.pixels(encoded(), "a", picture()).shape == (7, 9, 3)


def inside(monkeypatch, tmp_path, line):
    """A decoder whose process does something else for images called hostile."""
    code = "\n".join(
        [
            "from auditor.data import pictures",
            "decode = pictures.pixels",
            "def pixels(content, name, picture):",
            "    if name == 'hostile':",
            f"        {line}",
            "    return decode(content, name, picture)",
            "pictures.pixels = pixels",
            "pictures.main()",
        ]
    )
    (tmp_path / "hostile_pictures.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(decoding, "MODULE", "hostile_pictures")
    return Apart()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            "cannot be decoded: the process that did was ended by SIGSEGV",
        ),
        ("import os; os._exit(3)", "ended with exit code 3"),
        ("held = bytearray(3 << 30)", "takes more than 2048 MiB of memory to decode"),
        ("import time; time.sleep(60)", "takes more than 1 s to decode"),
        ("import os; os.write(1, b'x' * 100) and os._exit(0)", "ended with exit code 0"),
    ],
)
def test_a_file_that_ends_its_process_ends_nothing_else(monkeypatch, tmp_path, line, why):
    monkeypatch.setattr(decoding, "MAX_SECONDS", 1.0 if "sleep" in line else 60.0)
    decoder = inside(monkeypatch, tmp_path, line)
    with pytest.raises(DatasetError, match=f"hostile .*{why}"):
        decoder.pixels(encoded(), "hostile", picture())
    monkeypatch.setattr(decoding, "MAX_SECONDS", 60.0)
    assert decoder.pixels(encoded(), "harmless", picture()).shape == (7, 9, 3)


def test_it_may_neither_start_programs_nor_write(monkeypatch, tmp_path):
    if not pictures.sandbox.level():
        pytest.skip("this kernel has no Landlock")
    for line in ("import subprocess; subprocess.run(['/bin/true'])", f"open('{tmp_path}/made', 'w')"):
        decoder = inside(monkeypatch, tmp_path, line)
        with pytest.raises(DatasetError, match="ended with exit code 1"):
            decoder.pixels(encoded(), "hostile", picture())
    assert not (tmp_path / "made").exists()


def test_the_process_ends_with_the_decoder_and_is_replaced_when_it_is_gone():
    decoder = Apart()
    decoder.size(encoded(), "a")
    first = decoder._held["process"].pid
    os.kill(first, signal.SIGKILL)
    while decoder._held["process"].alive:
        pass
    assert decoder.size(encoded(), "a") == (9, 7)
    second = decoder._held["process"].pid
    assert second != first
    del decoder
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)
