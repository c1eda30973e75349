"""A keyword spotter on raw waveforms, from the command line to the report: the spectrogram is inside the graph."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from auditor.classifier import load_classifier
from auditor.report.exhibits import Exhibit, Exhibits, section
from auditor.report.signals import is_signal, outline, signal_to_noise
from auditor.spec import Loss
from tests.models.keywords import CLASSES, FILE, SAMPLES, waveforms

EPS = {"Linf": ("0.0005", "0.002", "0.01"), "L2": ("0.01", "0.05", "0.2")}


def test_the_spotter_is_trained_and_attacked_white_box_through_its_spectrogram(command, tmp_path):
    """Noise of the same size changes little; what the gradient finds is far quieter than the sound."""
    x, y = waveforms(24, seed=7)
    np.savez(tmp_path / "sounds.npz", x=x, y=y)
    words = [word for norm, eps in EPS.items() for word in ("--norm", norm, "--eps", ",".join(eps))]
    out = tmp_path / "out"
    answer = command(
        "audit", FILE, tmp_path / "sounds.npz", "--out", out, "--domain=-1,1", "--preset", "quick", "--examples", 5,
        "--threads", 1, "--show-examples", *words,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    report = json.loads((out / "report.json").read_text())
    assert {"STFT", "Conv", "Log"} <= report["model"]["operators"].keys()
    assert report["model"]["gradient"]["access"] == "white-box"
    assert report["clean"]["correct"] >= 4
    for curve in report["curves"]:
        shares = [point["robust_accuracy"] for point in curve["points"]]
        assert shares == sorted(shares, reverse=True)
        assert shares[0] > shares[-1] == 0
    with np.load(out / "adversarial.npz") as found:
        for x_clean, x_adv, norm in zip(found["x"], found["x_adv"], found["norm"], strict=True):
            assert np.abs(x_adv).max() <= 1
            if norm == "L2":
                assert signal_to_noise(x_clean, x_adv) > 10
    noisy = x + 0.002 * np.sign(np.random.default_rng(0).standard_normal(x.shape)).astype(np.float32)
    logits = load_classifier(FILE, domain=None, threads=1).logits(noisy)
    assert np.mean(logits.argmax(axis=1) == y) >= 0.9
    page = (out / "report.html").read_text()
    assert "signal to noise" in page
    assert "waveform of adversarial example" in page


def test_the_gradient_of_the_waveform_is_that_of_the_scores():
    x, y = waveforms(4, seed=3)
    classifier = load_classifier(FILE, domain=None, batch=4, threads=1)
    found = classifier.gradient(x, y, Loss.MARGIN)
    along = found.g / np.linalg.norm(found.g, axis=1, keepdims=True)
    step = np.float32(1e-3)
    upper, lower = (classifier.gradient(x + sign * step * along, y, Loss.MARGIN).loss for sign in (1, -1))
    slope = np.linalg.norm(found.g, axis=1)
    assert np.median(np.abs((upper - lower) / (2 * step) - slope) / slope) < 0.05


def test_signals_are_drawn_and_measured():
    assert is_signal((SAMPLES,))
    assert is_signal((1, SAMPLES, 1))
    assert not is_signal((3, 32, 32))
    assert not is_signal((784,))
    assert not is_signal((2, SAMPLES))
    x = np.sin(np.linspace(0, 20, SAMPLES)).astype(np.float32)
    assert signal_to_noise(x, 1.1 * x) == pytest.approx(20, abs=1e-4)
    assert signal_to_noise(0 * x, x) == -np.inf
    shown = np.array(Image.open(io.BytesIO(outline(x, 1.0))))
    inked = shown < 128
    assert inked.any(axis=0).all()
    assert inked[:3].any()
    assert inked[-3:].any()
    flat = np.array(Image.open(io.BytesIO(outline(0 * x, 1.0)))) < 128
    assert flat.any(axis=0).all()
    assert flat.sum(axis=0).max() <= 2
    one = Exhibit("L2", 3, x, x + np.float32(0.01), 0, 1, 0.1)
    (gallery,) = section(Exhibits((one,), None, (-1.0, 1.0), CLASSES.__getitem__)).blocks
    original, delta, adversarial = gallery.rows[0]
    assert original.lines == ("example 3", "label rising")
    assert delta.lines[0] == "× 100"
    assert adversarial.lines[0] == "taken for falling"
