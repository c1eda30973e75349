import json

import pytest

from auditor.data.preprocessing import Preprocessing
from auditor.data.preprocessor_config import parse_config, read_config
from auditor.errors import DatasetError

HALF = [0.5, 0.5, 0.5]


def parsed(**config):
    return parse_config(json.dumps(config).encode(), "preprocessor_config.json")


@pytest.mark.parametrize(
    ("config", "resize", "crop"),
    [
        ({"size": 224}, (224, 224), None),
        ({"size": 224, "feature_extractor_type": "ViTFeatureExtractor"}, (224, 224), None),
        ({"size": {"height": 224, "width": 192}, "do_resize": True}, (224, 192), None),
        ({"size": 256, "crop_size": 224, "feature_extractor_type": "DeiTFeatureExtractor"}, (256, 256), (224, 224)),
        ({"size": 224, "crop_size": 224, "feature_extractor_type": "CLIPFeatureExtractor"}, 224, (224, 224)),
        ({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}, 256, (224, 224)),
        ({"size": {"shortest_edge": 256}, "crop_size": 224, "do_center_crop": False}, 256, None),
        ({"size": 224, "do_resize": False}, None, None),
        ({"size": {"shortest_edge": 224}, "image_processor_type": "ConvNextImageProcessor"}, 256, (224, 224)),
        ({"size": 384, "feature_extractor_type": "ConvNextFeatureExtractor"}, (384, 384), None),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.9, "crop_size": 224}, 248, (224, 224)),
        ({"size": {"height": 224, "width": 224}, "crop_pct": 0.9, "crop_size": 224}, 248, (224, 224)),
    ],
)
def test_old_and_new_sizes_are_read_as_transformers_reads_them(config, resize, crop):
    preprocessing = parsed(**config)
    assert preprocessing.resize == resize
    assert preprocessing.crop == crop


@pytest.mark.parametrize(
    ("code", "name"), [(0, "nearest"), (1, "lanczos"), (2, "bilinear"), (3, "bicubic"), (4, "box"), (5, "hamming")]
)
def test_resample_codes_are_those_of_pillow(code, name):
    from PIL import Image

    assert parsed(size=224, resample=code).interpolation == name
    assert Image.Resampling[name.upper()] == code


def test_bilinear_is_the_default_filter():
    assert parsed(size=224).interpolation == "bilinear"


@pytest.mark.parametrize(
    ("config", "ends"),
    [
        ({}, (0, 1)),
        ({"rescale_factor": 0.00392156862745098}, (0, 1)),
        ({"rescale_factor": 0.003921569}, (0, 1)),
        ({"do_rescale": False}, (0, 255)),
        ({"rescale_factor": 1 / 127.5, "rescale_offset": True}, (-1, 1)),
    ],
)
def test_the_rescale_factor_decides_the_domain(config, ends):
    assert parsed(**config).ends == ends


def test_normalisation_is_read_only_when_it_is_done():
    assert parsed(image_mean=HALF, image_std=HALF).normalisation.mean == (0.5, 0.5, 0.5)
    assert parsed(image_mean=HALF, image_std=HALF, do_normalize=False).normalisation is None
    assert parsed().normalisation is None


def test_efficientnet_divides_by_the_standard_deviation_twice():
    config = {"image_mean": HALF, "image_std": HALF, "image_processor_type": "EfficientNetImageProcessor"}
    assert parsed(**config).std == (0.25, 0.25, 0.25)
    assert parsed(**config, include_top=False).std == (0.5, 0.5, 0.5)


def test_flipped_channels_mean_bgr():
    assert parsed(do_flip_channel_order=True).channel_order == "BGR"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"do_pad": True}, "'do_pad' asks for a step that is not supported"),
        ({"image_processor_type": "LevitImageProcessor"}, "'LevitImageProcessor' asks for"),
        ({"size": {"longest_edge": 800}}, 'size is {"longest_edge": 800}; understood are'),
        ({"size": "large"}, 'size is "large"'),
        ({"size": {"shortest_edge": None}}, "size is"),
        ({"size": 224, "resample": 9}, "resample is 9, but Pillow's filters are numbered 0 to 5"),
        ({"do_normalize": True, "image_mean": HALF}, "image_std is null"),
        ({"rescale_factor": "1/255"}, 'rescale_factor is "1/255", not a number'),
        ({"size": {"height": 224, "width": 192}, "crop_pct": 0.9}, "not square is not supported"),
        ({"size": 224, "crop_pct": "most"}, 'crop_pct is "most"'),
    ],
)
def test_what_a_configuration_asks_for_and_cannot_have_is_named(config, message):
    with pytest.raises(DatasetError, match=message):
        parsed(**config)


@pytest.mark.parametrize(("content", "message"), [(b"{", "is not JSON"), (b"[1]", "no JSON object")])
def test_files_that_are_no_configuration_are_refused(content, message):
    with pytest.raises(DatasetError, match=message):
        parse_config(content, "preprocessor_config.json")


def test_a_configuration_is_read_from_its_own_path(tmp_path):
    (tmp_path / "p.json").write_text('{"size": 32}')
    assert read_config(tmp_path / "p.json").resize == (32, 32)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_config(tmp_path / "gone.json")


def test_declarations_win_over_what_was_found():
    declared = Preprocessing(resize=32, mean=(0.0,))
    found = Preprocessing(resize=64, crop=(28, 28), mean=(0.5,), std=(0.5,))
    assert declared.over(found) == Preprocessing(resize=32, crop=(28, 28), mean=(0.0,), std=(0.5,))


def test_a_lone_mean_or_std_gets_the_neutral_partner():
    assert Preprocessing(mean=(0.5,)).normalisation.std == (1.0,)
    assert Preprocessing(std=(0.5,)).normalisation.mean == (0.0,)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"resize": 0}, "A side of 0 pixels"),
        ({"crop": (4, -1)}, "A side of -1 pixels"),
        ({"interpolation": "cubic"}, "no interpolation 'cubic'; choose one of nearest"),
        ({"channel_order": "GBR"}, "choose RGB or BGR"),
        ({"scale": 0.0}, "scale 0 is not a positive number"),
        ({"std": (0.5, 0.0)}, r"std \(0.5, 0\) holds"),
        ({"mean": (0.5, float("nan"))}, r"mean \(0.5, nan\) holds"),
        ({"mean": (0.5, 0.5), "std": (1.0, 1.0, 1.0)}, "different numbers of channels"),
    ],
)
def test_impossible_declarations_are_refused(declared, message):
    with pytest.raises(DatasetError, match=message):
        Preprocessing(**declared)
