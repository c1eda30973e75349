"""The fifteen corruptions: against formulas and other implementations where there are any, and what holds for all."""

import colorsys

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from auditor.attacks.random import Random
from auditor.threats import filters
from auditor.threats.corruptions import CORRUPTIONS, corrupted, corruption
from auditor.threats.pixels import Pixels
from auditor.threats.severities import severities


def stream(n, first=0):
    return Random.keyed(np, 0, "test", np.arange(first, first + n))


def grey(n=4, channels=3, side=32, level=128):
    return np.full((n, channels, side, side), level / 255)


@pytest.fixture
def photos():
    """(6, 3, 32, 32) smooth coloured images on grey levels."""
    waves = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((6, 3, 32, 32)), 3, axes=(2, 3))
    return np.rint(255 * np.clip(0.5 + 2 * waves, 0, 1)) / 255


def made(name, planes, severity=3, *, large=False, first=0):
    return corrupted(
        CORRUPTIONS[name], planes, stream(len(planes), first), severities(name, large=large)[severity - 1]
    )


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_severity_gives_whole_grey_levels_that_differ_from_the_image(name, channels, photos):
    planes = photos[:, :channels]
    for severity in range(1, 6):
        found = made(name, planes, severity)
        assert found.shape == planes.shape
        assert np.array_equal(np.rint(255 * found) / 255, found)
        assert found.min() >= 0
        assert found.max() <= 1
        assert not np.array_equal(found, planes)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_example_does_not_depend_on_its_neighbours(name, photos):
    assert np.array_equal(made(name, photos)[2:4], made(name, photos[2:4], first=2))


@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - {"glass-blur", "elastic-transform"}))
def test_large_images_have_their_own_parameters(name):
    planes = grey(1, side=112)
    planes[..., ::7] = 0.2
    assert not np.array_equal(made(name, planes, large=True), made(name, planes))


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_threat_has_five_settings_that_differ(name, large):
    side = 224 if large else 32
    threat = corruption(name, Pixels(3, side, side, 0, (0.0, 1.0)))
    assert [setting["severity"] for setting in threat.settings] == [1, 2, 3, 4, 5]
    assert len({str({k: v for k, v in s.items() if k != "severity"}) for s in threat.settings}) == 5


def test_images_that_are_not_square_keep_their_shape(photos):
    planes = photos[:2, :, :28, :20]
    for name in CORRUPTIONS:
        assert made(name, planes).shape == planes.shape


def test_gaussian_noise_has_the_published_deviation():
    noise = made("gaussian-noise", grey(40), 3) - 128 / 255
    assert abs(noise.mean()) < 1e-3
    assert noise.std() == pytest.approx(0.08, rel=0.01)


def test_shot_noise_is_poisson():
    counts = CORRUPTIONS["shot-noise"](grey(40, level=51), stream(40), photons=50) * 50
    assert np.allclose(counts, np.rint(counts))
    assert counts.mean() == pytest.approx(10, rel=0.01)
    assert counts.var() == pytest.approx(10, rel=0.02)
    assert np.mean(np.rint(counts) == 10) == pytest.approx(10**10 * np.exp(-10) / 3628800, rel=0.03)


def test_black_has_no_shot_noise():
    assert not made("shot-noise", grey(level=0), 5).any()


def test_impulse_noise_is_half_salt_and_half_pepper():
    found = made("impulse-noise", grey(40), 5)
    assert np.mean(found == 0) == pytest.approx(0.035, rel=0.05)
    assert np.mean(found == 1) == pytest.approx(0.035, rel=0.05)
    assert np.all((found == 0) | (found == 1) | (found == 128 / 255))


@pytest.mark.parametrize("name", ["defocus-blur", "motion-blur", "zoom-blur", "glass-blur", "elastic-transform"])
def test_what_moves_pixels_leaves_an_even_image_alone(name):
    for severity in range(1, 6):
        assert np.array_equal(made(name, grey(), severity), grey())


def test_a_disk_is_round_even_and_sums_to_one():
    point = np.zeros((1, 1, 33, 33))
    point[0, 0, 16, 16] = 1
    spot = filters.disk(point, 6, 0.1)[0, 0]
    assert spot.sum() == pytest.approx(1)
    assert np.count_nonzero(spot > 1e-9) == pytest.approx(np.pi * 36, rel=0.05)
    assert np.allclose(spot, spot.T)
    assert np.ptp(spot[spot > 1e-9]) < 1e-9


def test_motion_goes_one_way_along_its_angle():
    point = np.zeros((1, 1, 33, 33))
    point[0, 0, 16, 16] = 1
    smear = filters.motion(point, 4, 3.0, np.array([45.0]))[0, 0]
    rows, columns = np.nonzero(smear)
    assert np.array_equal(rows, columns)
    assert smear.sum() == pytest.approx(1)
    assert (rows <= 16).all()
    straight = filters.motion(point, 4, 3.0, np.array([0.0]))[0, 0, 16, 8:17]
    assert np.allclose(straight[::-1], np.exp(-(np.arange(9) ** 2) / 18) / np.exp(-(np.arange(9) ** 2) / 18).sum())


@pytest.mark.parametrize("factor", [1.0, 1.05, 1.2, 2.25])
def test_zooming_is_scipys(factor, photos):
    crop = int(np.ceil(32 / factor))
    top = (32 - crop) // 2
    large = ndimage.zoom(photos[0, 0, top : top + crop, top : top + crop], factor, order=1)
    trim = (len(large) - 32) // 2
    assert np.allclose(filters.zoomed(photos, factor)[0, 0], large[trim : trim + 32, trim : trim + 32])


def test_clouds_fill_the_range_and_are_rougher_where_they_decay_less():
    soft, rough = (filters.plasma(stream(8), 32, 32, decay) for decay in (3.0, 1.4))
    for field in (soft, rough):
        assert field.min(axis=(1, 2, 3)).tolist() == [0] * 8
        assert field.max(axis=(1, 2, 3)).tolist() == [1] * 8
    assert np.abs(np.diff(rough, axis=2)).mean() > 2 * np.abs(np.diff(soft, axis=2)).mean()


def test_brightness_raises_the_value_of_hsv(photos):
    found = CORRUPTIONS["brightness"](photos[:1, :, :4, :4], None, shift=0.2)
    for row in range(4):
        for column in range(4):
            hue, saturation, value = colorsys.rgb_to_hsv(*photos[0, :, row, column])
            expected = colorsys.hsv_to_rgb(hue, saturation, min(value + 0.2, 1))
            assert np.allclose(found[0, :, row, column], expected)


def test_contrast_keeps_the_mean_of_each_channel(photos):
    found = CORRUPTIONS["contrast"](photos, None, factor=0.3)
    assert np.allclose(found.mean(axis=(2, 3)), photos.mean(axis=(2, 3)))
    assert np.allclose(found.std(axis=(2, 3)), 0.3 * photos.std(axis=(2, 3)))


def test_fog_never_exceeds_the_brightest_pixel(photos):
    found = CORRUPTIONS["fog"](photos, stream(6), thickness=1.0, decay=2.0)
    assert (found <= photos.max(axis=(1, 2, 3), keepdims=True) + 1e-12).all()


def test_snow_and_frost_whiten(photos):
    for name in ("snow", "frost"):
        assert made(name, photos).mean() > photos.mean()


def test_pixelate_is_two_box_resizes(photos):
    image = Image.fromarray(np.rint(255 * photos[0]).astype(np.uint8).transpose(1, 2, 0))
    box = Image.Resampling.BOX
    expected = np.asarray(image.resize((24, 24), box).resize((32, 32), box)).transpose(2, 0, 1)
    assert np.array_equal(255 * made("pixelate", photos, 4)[0], expected)


def test_jpeg_does_more_damage_at_a_lower_quality(photos):
    damage = [np.abs(made("jpeg-compression", photos, severity) - photos).mean() for severity in range(1, 6)]
    assert damage == sorted(damage)
    assert damage[0] > 0
