"""Hugging Face's `preprocessor_config.json`, old and new, as declared preprocessing.

Its steps in order: resize, centre crop, rescale, normalise. Meaning of the keys as in `transformers`: an integer
`size` is a square, except in the families that read it as the shorter side. A step that we do not do is an error, never skipped.
"""

import json
from pathlib import Path
from typing import Any

from auditor.data.preprocessing import INTERPOLATIONS, Interpolation, Preprocessing
from auditor.errors import DatasetError

CONFIG_NAME = "preprocessor_config.json"

_KNOWN_STEPS = {
    "do_resize",
    "do_center_crop",
    "do_rescale",
    "do_normalize",
    "do_flip_channel_order",
    "do_convert_rgb",
    "do_reduce_labels",
}
_SHORTER_SIDE = ("CLIP", "ChineseCLIP", "ConvNext", "Bit", "PoolFormer", "MobileNetV1", "MobileNetV2", "MobileViT")
_OWN_GEOMETRY = ("Levit", "Perceiver")
_CONVNEXT_CROP_SHARE = 224 / 256


def read_config(path: Path) -> Preprocessing:
    """A preprocessor_config.json that lies elsewhere than among the images. Raises DatasetError."""
    try:
        return parse_config(path.read_bytes(), path.name)
    except OSError as error:
        raise DatasetError(f"The preprocessor configuration {path} cannot be read: {error.strerror}.") from None


def parse_config(content: bytes, name: str) -> Preprocessing:
    """The JSON text of a preprocessor_config.json -> Preprocessing. Raises DatasetError naming the key at fault."""
    try:
        config = json.loads(content)
    except ValueError as error:
        raise DatasetError(f"{name} is not JSON: {error}. Replace it, or remove it and declare the steps.") from None
    if not isinstance(config, dict):
        raise DatasetError(f"{name} holds no JSON object, so it is not a preprocessor configuration.")
    family = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "")
    _refuse_unknown_steps(config, family, name)
    resize, crop = _geometry(config, family, name)
    scale, offset = _scale(config, name)
    mean, std = _normalisation(config, family, name)
    return Preprocessing(
        resize=resize,
        crop=crop,
        interpolation=_interpolation(config, name) if resize is not None else None,
        channel_order="BGR" if config.get("do_flip_channel_order") else None,
        scale=scale,
        offset=offset,
        mean=mean,
        std=std,
    )


def _refuse_unknown_steps(config: dict[str, Any], family: str, name: str) -> None:
    unknown = [key for key in config if key.startswith("do_") and config[key] and key not in _KNOWN_STEPS]
    if unknown or family.startswith(_OWN_GEOMETRY):
        what = unknown[0] if unknown else family
        raise DatasetError(
            f"{name}: '{what}' asks for a step that is not supported. Apply it to the images beforehand, remove it "
            "from the file, and declare the other steps."
        )


def _geometry(
    config: dict[str, Any], family: str, name: str
) -> tuple[int | tuple[int, int] | None, tuple[int, int] | None]:
    """-> (resize, crop) as Preprocessing means them."""
    resize: int | tuple[int, int] | None = None
    if config.get("do_resize", "size" in config):
        resize = _size(config.get("size"), family, name)
    share = config.get("crop_pct")
    if share is not None and not (_is_number(share) and share > 0):
        raise DatasetError(f"{name}: crop_pct is {json.dumps(share)}, not a positive number.")
    if family.startswith("ConvNext") and isinstance(resize, int):
        share = share or _CONVNEXT_CROP_SHARE
        square = (resize, resize)
        return (square, None) if resize >= 384 else (int(resize / share), square)
    crop = None
    if config.get("do_center_crop", "crop_size" in config):
        crop = _pair(config.get("crop_size", config.get("size")), name, "crop_size")
    if share is not None and resize is not None:
        resize = _enlarged(resize, share, name)
    return resize, crop


def _size(size: Any, family: str, name: str) -> int | tuple[int, int]:
    if isinstance(size, int):
        return size if family.startswith(_SHORTER_SIDE) else (size, size)
    if isinstance(size, dict) and set(size) == {"shortest_edge"} and isinstance(size["shortest_edge"], int):
        return size["shortest_edge"]
    return _pair(size, name, "size")


def _pair(size: Any, name: str, key: str) -> tuple[int, int]:
    sides = size if isinstance(size, dict) else {"shortest_edge": size}
    if all(isinstance(side, int) for side in sides.values()):
        if set(sides) == {"height", "width"}:
            return sides["height"], sides["width"]
        if set(sides) == {"shortest_edge"}:
            return sides["shortest_edge"], sides["shortest_edge"]
    raise DatasetError(
        f'{name}: {key} is {json.dumps(size)}; understood are an integer, {{"shortest_edge": n}} and '
        '{"height": h, "width": w}.'
    )


def _enlarged(resize: int | tuple[int, int], share: float, name: str) -> int:
    """PoolFormer and its kin resize by 1 / crop_pct before they crop."""
    if isinstance(resize, int):
        return int(resize / share)
    if resize[0] != resize[1]:
        raise DatasetError(f"{name}: crop_pct with a size that is not square is not supported; declare the resize.")
    return int(resize[0] / share)


def _interpolation(config: dict[str, Any], name: str) -> Interpolation:
    code = config.get("resample", INTERPOLATIONS.index("bilinear"))
    if not isinstance(code, int) or not 0 <= code < len(INTERPOLATIONS):
        raise DatasetError(f"{name}: resample is {json.dumps(code)}, but Pillow's filters are numbered 0 to 5.")
    return INTERPOLATIONS[code]  # type: ignore[return-value]


def _scale(config: dict[str, Any], name: str) -> tuple[float, float | None]:
    if not config.get("do_rescale", True):
        return 1.0, None
    factor = config.get("rescale_factor", 1 / 255)
    if not _is_number(factor):
        raise DatasetError(f"{name}: rescale_factor is {json.dumps(factor)}, not a number.")
    return float(factor), -1.0 if config.get("rescale_offset") else None


def _normalisation(
    config: dict[str, Any], family: str, name: str
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    if not config.get("do_normalize", "image_mean" in config):
        return None, None
    mean, std = (_floats(config.get(key), name, key) for key in ("image_mean", "image_std"))
    if family.startswith("EfficientNet") and config.get("include_top", True):
        # This family divides by the standard deviation a second time when the classification head is kept.
        std = tuple(value * value for value in std)
    return mean, std


def _floats(values: Any, name: str, key: str) -> tuple[float, ...]:
    listed = values if isinstance(values, list) else [values]
    if not listed or not all(map(_is_number, listed)):
        raise DatasetError(f"{name}: {key} is {json.dumps(values)}, but do_normalize needs one number per channel.")
    return tuple(float(value) for value in listed)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
