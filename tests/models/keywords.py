"""Writes `audio/keywords.onnx`: a small network that spots one of six spoken patterns in half a second of sound.

    python tests/models/keywords.py
It takes a raw waveform, 4,000 samples at 8 kHz in [-1, 1]. Inside the graph a short-time Fourier transform, 32 mel bands and a
logarithm make a picture of it, which two convolutions and a linear layer classify, as networks for Speech Commands do (Warden
2018, "Speech commands: a dataset for limited-vocabulary speech recognition"; Sainath & Parada 2015, "Convolutional neural
networks for small-footprint keyword spotting"). `waveforms` makes sounds of the six kinds, and the tests the same ones. The
convolutions are trained on the pictures, by this repository's own gradients.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from auditor.attacks.transfer.networks import Network
from auditor.attacks.transfer.train import Fit

FILE = Path(__file__).parent / "audio" / "keywords.onnx"
RATE, SAMPLES = 8000, 4000
WINDOW, HOP, BANDS = 256, 128, 32
FRAMES = (SAMPLES - WINDOW) // HOP + 1
CLASSES = ("rising", "falling", "steady", "beating", "low-high", "high-low")


def waveforms(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, SAMPLES) float32 in [-1, 1] and (n,) kinds: tones of random pitch, length, place and loudness, with two overtones, in
    noise."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % len(CLASSES)
    x = np.zeros((n, SAMPLES), np.float32)
    for row, kind in enumerate(y):
        length = int(rng.integers(SAMPLES // 2, SAMPLES * 9 // 10))
        begin = int(rng.integers(0, SAMPLES - length))
        share = np.linspace(0, 1, length)
        low = rng.uniform(250, 600)
        high = low * rng.uniform(1.8, 2.6)
        pitch = {
            "rising": low + (high - low) * share,
            "falling": high - (high - low) * share,
            "steady": np.full(length, (low + high) / 2),
            "beating": np.full(length, (low + high) / 2),
            "low-high": np.where(share < 0.5, low, high),
            "high-low": np.where(share < 0.5, high, low),
        }[CLASSES[kind]]
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        tone = sum(np.sin(k * phase) / k for k in (1, 2, 3))
        loudness = np.hanning(length) ** 0.25
        if CLASSES[kind] == "beating":
            loudness = loudness * (0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(8, 14) * np.arange(length) / RATE))
        x[row, begin : begin + length] = rng.uniform(0.15, 0.35) * tone * loudness
    x += 0.01 * rng.standard_normal(x.shape).astype(np.float32)
    return np.clip(x, -1, 1), y


def mel_bands() -> np.ndarray:
    """(bins, BANDS) triangles, evenly spaced in mel (O'Shaughnessy 1987) up to half the rate."""
    edges = np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), BANDS + 2)
    hertz = 700 * (10 ** (edges / 2595) - 1)
    bins = np.arange(WINDOW // 2 + 1) * RATE / WINDOW
    rising = (bins[:, None] - hertz[:-2]) / (hertz[1:-1] - hertz[:-2])
    falling = (hertz[2:] - bins[:, None]) / (hertz[2:] - hertz[1:-1])
    return np.maximum(np.minimum(rising, falling), 0).astype(np.float32)


def pictures(x: np.ndarray) -> np.ndarray:
    """What the graph makes of waveforms, in NumPy: (n, SAMPLES) -> (n, 1, FRAMES, BANDS)"""
    window = np.hanning(WINDOW + 1)[:-1]
    parts = np.stack([x[:, start : start + WINDOW] for start in range(0, FRAMES * HOP, HOP)], axis=1)
    power = np.abs(np.fft.rfft(parts * window, axis=2)) ** 2
    logarithm = np.log(power @ mel_bands() + 1e-2)
    return (logarithm / 4)[:, None].astype(np.float32)


HEAD = """
    k1 = Conv<strides=[2,2], pads=[1,1,1,1]>(p, K1, a1) c1 = Relu(k1)
    k2 = Conv<strides=[2,2], pads=[1,1,1,1]>(c1, K2, a2) c2 = Relu(k2)
    d = Flatten(c2) h = Gemm<transB=1>(d, W1, b1) r = Relu(h) logits = Gemm<transB=1>(r, W2, b2)
"""
SIDES = -(-FRAMES // 4) * -(-BANDS // 4)
SIZES = {
    "K1": (8, 1, 3, 3), "a1": (8,), "K2": (16, 8, 3, 3), "a2": (16,),
    "W1": (32, 16 * SIDES), "b1": (32,), "W2": (len(CLASSES), 32), "b2": (len(CLASSES),),
}  # fmt: skip
FRONT = """
    s = Unsqueeze(x, two)
    f = STFT<onesided=1>(s, hop, window, length)
    q = Mul(f, f) e = ReduceSum<keepdims=0>(q, three)
    m = MatMul(e, mel) g = Add(m, floor) l = Log(g) t = Mul(l, quarter)
    p = Unsqueeze(t, one)
"""


def trained() -> dict[str, np.ndarray]:
    """The weights of the head, on the pictures of 3,000 waveforms."""
    network = Network((1, FRAMES, BANDS), len(CLASSES), HEAD.replace("p, K1", "x, K1"), SIZES)
    x, y = waveforms(3000, seed=1)
    fit = Fit(network, seed=0, rate=1e-3, threads=1)
    fit.epochs(pictures(x), y, 8)
    return fit.weights


def model(weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """From a waveform to the logits."""
    made = onnx.parser.parse_model(
        f'<ir_version:10, opset_import:["":17]> keywords (float[N,{SAMPLES}] x) => (float[N,{len(CLASSES)}] logits)'
        f" {{{FRONT}{HEAD}}}"
    )
    constants = {
        "one": np.array([1]), "two": np.array([2]), "three": np.array([3]),
        "hop": np.array(HOP), "length": np.array(WINDOW),
        "window": (np.hanning(WINDOW + 1)[:-1]).astype(np.float32), "mel": mel_bands(),
        "floor": np.float32(1e-2), "quarter": np.float32(0.25),
    }  # fmt: skip
    tensors = {**constants, **weights}
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(array), name) for name, array in tensors.items())
    onnx.helper.set_model_props(made, {"names": str(list(CLASSES))})
    onnx.checker.check_model(made, full_check=True)
    return made


if __name__ == "__main__":
    FILE.write_bytes(model(trained()).SerializeToString())
