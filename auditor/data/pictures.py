"""From an image file's bytes to pixels of the wanted size. Imports Pillow alone, so that a process that does only this starts
fast (`python -m auditor.data.pictures`, started by `decoding.Apart` alone, whose commands come through its pipe).

Pixels are resized by Pillow on eight bits, as torchvision and transformers do with Pillow images. EXIF rotation is not applied
and transparency is dropped, as neither library does otherwise.
"""

import io
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor import sandbox
from auditor.errors import DatasetError
from auditor.processes.pipe import standard_pipe

MAX_PIXELS = 100_000_000
MAX_BYTES = 2 << 30  # of memory, for a process that decodes
INTERPOLATION = "bilinear"  # where none was declared

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "PPM", "TIFF")
_EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


@dataclass(frozen=True)
class Picture:
    """What every image becomes: pixels of one or three channels. grayscale: whether colours are dropped first; resize, crop,
    interpolation: as in `Preprocessing`."""

    channels: int
    height: int
    width: int
    grayscale: bool
    resize: int | tuple[int, int] | None
    crop: tuple[int, int] | None
    interpolation: str


def size(content: bytes, name: str) -> tuple[int, int]:
    """Pillow's size (width, height) of an image, which is decoded. Raises DatasetError naming the file when it cannot be."""
    width, height = _decoded(content, name).size
    return width, height


def pixels(content: bytes, name: str, picture: Picture) -> bytes:
    """One image file's bytes -> its grey levels, (height, width, channels) row by row.

    Raises DatasetError naming the file when it cannot be decoded or does not come out at the picture's size.
    """
    image = _decoded(content, name)
    if picture.grayscale:
        image = image.convert("L")
    image = image.convert("L" if picture.channels == 1 else "RGB")
    if picture.resize is not None:
        height, width = resized(picture.resize, image.size)
        image = image.resize((width, height), _filter(picture.interpolation))
    if picture.crop is not None:
        image = image.crop(centre(picture.crop, image.size, name))
    if image.size != (picture.width, picture.height):
        raise DatasetError(
            f"{name} comes out at {image.height} x {image.width} pixels (height x width), but the model takes "
            f"{picture.height} x {picture.width}: declare another resize or a crop."
        )
    return bytes(image.tobytes())


def resized(resize: int | tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """What `resize` makes of an image of Pillow's size (width, height): (height, width).

    With an integer the shorter side gets that length and the longer one is cut to whole pixels, as torchvision does.
    """
    if not isinstance(resize, int):
        return resize
    width, height = size
    if width <= height:
        return int(resize * height / width), resize
    return resize, int(resize * width / height)


def centre(crop: tuple[int, int], size: tuple[int, int], name: str) -> tuple[int, int, int, int]:
    """Pillow's box (left, upper, right, lower) of the centre crop, placed as torchvision places it."""
    height, width = crop
    if height > size[1] or width > size[0]:
        raise DatasetError(
            f"{name} has {size[1]} x {size[0]} pixels (height x width) after resizing, too few for a crop of "
            f"{height} x {width}: declare a larger resize or a smaller crop."
        )
    upper, left = round((size[1] - height) / 2), round((size[0] - width) / 2)
    return left, upper, left + width, upper + height


def _decoded(content: bytes, name: str) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise DatasetError(
                f"{name} has {image.width} x {image.height} pixels, more than the {MAX_PIXELS} allowed."
            )
        if image.mode not in _EIGHT_BIT_MODES:
            raise DatasetError(
                f"{name} has pixels of mode {image.mode}, not eight bits per channel: convert it, or store the values as "
                "an array with a declared domain."
            )
        image.load()
    except Image.DecompressionBombError:
        raise DatasetError(f"{name} is far larger decoded than allowed ({MAX_PIXELS} pixels).") from None
    except UnidentifiedImageError:
        raise DatasetError(f"{name} is not a readable image ({', '.join(_FORMATS)}); remove or convert it.") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise DatasetError(f"{name} is a damaged image: {error}. Remove or replace it.") from None
    return image


def _filter(interpolation: str) -> Any:
    from PIL import Image

    return Image.Resampling[interpolation.upper()]


def main() -> None:
    """Decode what comes through the pipe until it is closed."""
    import resource  # which not every system has

    from auditor.processes.restrict import restrict

    restrict()
    with suppress(ValueError, OSError):  # where memory cannot be limited
        resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    sandbox.lock(Path.cwd(), "best-effort", cuda=False)
    pipe = standard_pipe()
    while True:
        try:
            asked, content = pipe.receive()
        except EOFError:
            return
        try:
            name, picture = asked["name"], asked["picture"]
            if picture is None:
                pipe.send({"size": size(content, name)})
            else:
                pipe.send({}, pixels(content, name, Picture(**picture)))
        except DatasetError as error:
            pipe.send({"refused": str(error)})
        except MemoryError:
            pipe.send(
                {
                    "refused": f"{name} takes more than {MAX_BYTES >> 20} MiB of memory to decode; remove or convert it."
                }
            )


if __name__ == "__main__":
    main()
