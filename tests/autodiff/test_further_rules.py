"""Rules of rarer operators, and operators that are spelt out in others, against central differences."""

import numpy as np
import pytest

from tests.autodiff.oracle import Case, case, cases, check
from tests.autodiff.test_structured_rules import check_homogeneous, draw

RNG = np.random.default_rng(0)


# The position of the nearest entry has no slope.
@pytest.mark.parametrize("case", cases("GridSample", without=["nearest", "additional", "corners_1", "volumetric"]))
def test_sampled_images_and_positions_agree_with_differences(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("case", cases("GridSample"))
def test_sampling_is_the_adjoint_of_what_onnxruntime_computes(case: Case) -> None:
    check_homogeneous(case)


@pytest.mark.parametrize("mode", ["linear", "cubic", "nearest"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align", [0, 1])
def test_sampling_far_outside_is_the_adjoint_of_what_onnxruntime_computes(
    mode: str, padding: str, align: int
) -> None:
    grid = RNG.uniform(-3, 3, (2, 5, 6, 2)).astype(np.float32)
    attributes = {"mode": mode, "padding_mode": padding, "align_corners": align}
    check_homogeneous(case("GridSample", draw(2, 3, 4, 5), grid, **attributes))


@pytest.mark.parametrize("case", cases("DeformConv", without=["without_padding"]))
def test_deformed_convolution_agrees_with_differences(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("size", [(2, 3, 4, 5), (2, 3, 2, 4, 5)])
@pytest.mark.parametrize("align", [0, 1])
def test_an_affine_grid_is_the_adjoint_of_what_onnxruntime_computes(size: tuple, align: int) -> None:
    axes = len(size) - 2
    check_homogeneous(case("AffineGrid", draw(2, axes, axes + 1), np.asarray(size), align_corners=align))


# Left out: those of an older standard, whose axis is an attribute.
@pytest.mark.parametrize("case", cases("DFT", without=["opset19"]))
def test_fourier_transforms_agree_with_differences(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("onesided", [0, 1])
@pytest.mark.parametrize("window", [None, np.hanning(8).astype(np.float32)])
def test_transforms_of_frames_agree_with_differences(onesided: int, window: np.ndarray | None) -> None:
    signal, step, length = draw(2, 30, 1), np.asarray(3), np.asarray(8)
    check(case("STFT", signal, step, window, length, wrt=[0], onesided=onesided), ort_rtol=1e-3)


@pytest.mark.parametrize(
    "case",
    [
        *cases("CumProd", "Det", "Compress", "Col2Im", "TensorScatter", "CenterCropPad", "RotaryEmbedding"),
        # With a shape, the reference counts the places of another one than ONNX Runtime.
        *cases("MaxUnpool", without=["with_output_shape"]),
        case("Det", draw(4, 4)),
        case("Det", np.zeros((3, 3), np.float32)),
        case("Det", draw(2, 1, 1)),
    ],
)
def test_rarer_operators_agree_with_differences(case: Case) -> None:
    check(case, ort_rtol=1e-3)


# ONNX Runtime has no kernel for its newest version; in files it stays at an older one.
@pytest.mark.parametrize("p", [1, 2, 3])
def test_a_global_lp_pool_agrees_with_differences(p: int) -> None:
    check(case("GlobalLpPool", draw(2, 3, 4, 5), p=p), ort=False)


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
def test_running_products_through_zeros_agree_with_differences(exclusive: int, reverse: int) -> None:
    x = draw(2, 5)
    x[0, 2] = x[1, 1] = x[1, 4] = 0
    check(case("CumProd", x, np.asarray(1), exclusive=exclusive, reverse=reverse))


def test_max_unpool_is_the_adjoint_of_what_onnxruntime_computes() -> None:
    (shaped,) = (p.values[0] for p in cases("MaxUnpool") if "with_output_shape" in str(p.values[0]))
    check_homogeneous(shaped)


@pytest.mark.parametrize("reduction", ["mul", "max", "min", "add", "none"])
@pytest.mark.parametrize("zero", [False, True])
def test_scatters_that_meet_agree_with_differences(reduction: str, zero: bool) -> None:
    """Written twice where the reduction allows it, and over zeros."""
    x, updates = draw(3, 4), draw(2, 4)
    if zero:
        x[0, 1] = updates[0, 2] = updates[1, 3] = 0
    rows = np.asarray([[0, 1, 2, 0], [2, 0, 1, 1]] if reduction == "none" else [[0, 1, 2, 0], [0, 1, 1, 0]])
    check(case("ScatterElements", x, rows, updates, axis=0, reduction=reduction))
    places = np.asarray([[1], [2]] if reduction == "none" else [[1], [1]])
    check(case("ScatterND", x, places, updates, reduction=reduction))


# Five axes: sums of so many that float32 and the tolerance part.
LOSSES = cases(
    "SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss", without=["d1d2d3d4d5", "none", "sum", "log_prob"]
)


@pytest.mark.parametrize("case", LOSSES)
def test_losses_that_a_file_ends_in_agree_with_differences(case: Case) -> None:
    check(case)


# What onnx can write out for any optional input that is left out.
ATTENTION = ["4d", "4d_gqa_causal", "4d_attn_mask_bool_4d", "3d_softcap", "3d_with_past_and_present", "local_window"]
ATTENTION += ["3d_diff_heads_sizes_scaled", "23_boolmask_fullymasked_row_nan_robustness"]


@pytest.mark.parametrize("case", [p for p in cases("Attention") if p.id.removeprefix("test_attention_") in ATTENTION])
def test_attention_agrees_with_differences(case: Case) -> None:
    check(case)


IMAGES = draw(2, 3, 6, 7)
# One inside, one across the border, one turned inside out, a small one, one that is much larger than the image.
REGIONS = np.array(
    [[1.3, 1.1, 5.2, 6.4], [-3, -2.2, 9, 8], [5.1, 4, 2, 1.7], [2.1, 2, 2.6, 2.9], [-19.7, -15.4, 26.1, 30.8]],
    np.float32,
)
OF_IMAGE = np.array([0, 1, 1, 0, 1])


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("shift", ["half_pixel", "output_half_pixel"])
def test_aligned_regions_agree_with_differences(mode: str, sampling_ratio: int, shift: str) -> None:
    """In the image and in the regions; a ratio of 0 takes as many samples as a region is large."""
    sizes = {"output_height": 2, "output_width": 3, "spatial_scale": 0.8, "sampling_ratio": sampling_ratio}
    check(case("RoiAlign", IMAGES, REGIONS, OF_IMAGE, mode=mode, coordinate_transformation_mode=shift, **sizes))


def test_regions_of_largest_entries_agree_with_differences() -> None:
    rois = np.concatenate([OF_IMAGE[:, None], REGIONS], axis=1, dtype=np.float32)
    check(case("MaxRoiPool", IMAGES, rois, wrt=[0], pooled_shape=[2, 3], spatial_scale=0.8))
