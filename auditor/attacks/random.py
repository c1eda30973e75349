"""Random numbers that do not depend on how the work was cut.

Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), a counter-based generator: each
draw is a pure function of (seed, stage, example, step, position), so that batch, slice, order and restarts change
nothing. Written in integer arithmetic of the array-API standard: the same integers in NumPy and in CuPy.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from auditor.classifier import Array

_M0, _M1 = 0xD2511F53, 0xCD9E8D57
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_MASK = 0xFFFFFFFF


@dataclass(frozen=True)
class Random:
    """A stream per example. `examples` are the examples' positions in the dataset, (n,) int64."""

    xp: Any
    key: tuple[int, int]
    examples: Array

    @classmethod
    def keyed(cls, xp: Any, seed: int, stage: str, examples: Array) -> "Random":
        digest = hashlib.sha256(f"{seed}/{stage}".encode()).digest()
        key = (int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little"))
        return cls(xp, key, xp.asarray(examples))

    def split(self, name: str) -> "Random":
        """Another stream for the same examples, say for one restart."""
        digest = hashlib.sha256(f"{self.key[0]}/{self.key[1]}/{name}".encode()).digest()
        key = (int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little"))
        return replace(self, key=key)

    def of(self, rows: Array) -> "Random":
        """The streams of some of the examples. rows: (m,) positions among them"""
        return replace(self, examples=self.examples[rows])

    def integers(self, step: int | Array, count: int) -> Array:
        """(n, count) uint32 numbers. step: one for all, or (n,)."""
        xp = self.xp
        blocks, n = -(-count // 4), self.examples.shape[0]
        even, odd = (xp.empty((2, n, blocks), dtype=xp.uint64) for _ in range(2))
        even[0] = xp.arange(blocks, dtype=xp.uint64)[None, :]
        even[1] = (self.examples.astype(xp.uint64) & _MASK)[:, None]
        odd[0] = xp.reshape(xp.asarray(step, dtype=xp.uint64), (-1, 1))
        odd[1] = (self.examples.astype(xp.uint64) >> 32)[:, None]
        even, odd = _philox(xp, even, odd, self.key)
        words = xp.stack([even[0], odd[0], even[1], odd[1]], axis=-1)
        return xp.reshape(words, (n, blocks * 4))[:, :count].astype(xp.uint32)

    def uniform(self, step: int | Array, shape: tuple[int, ...]) -> Array:
        """(n, *shape) float32 in [0, 1): 24 random bits each."""
        bits = self.integers(step, int(np.prod(shape, dtype=np.int64))) >> 8
        values = bits.astype(self.xp.float32) * self.xp.float32(2.0**-24)
        return self.xp.reshape(values, (self.examples.shape[0], *shape))

    def normal(self, step: int | Array, shape: tuple[int, ...]) -> Array:
        """(n, *shape) float32 standard normal numbers (Box and Muller 1958)."""
        xp = self.xp
        count = int(np.prod(shape, dtype=np.int64))
        bits = self.integers(step, 2 * count).astype(xp.float64)
        radius = xp.sqrt(-2.0 * xp.log((bits[:, :count] + 1.0) * 2.0**-32))
        values = (radius * xp.cos(2.0 * np.pi * 2.0**-32 * bits[:, count:])).astype(xp.float32)
        return xp.reshape(values, (self.examples.shape[0], *shape))

    def bell(self, step: int, shape: tuple[int, ...]) -> Array:
        """(n, *shape) float32 of mean 0 and variance 1, nearly normal: the sum of the four bytes of one integer. Ten
        times cheaper than `normal`, and as good where many random directions are averaged."""
        words = self.integers(step, int(np.prod(shape, dtype=np.int64)))
        pairs = (words & 0x00FF00FF) + ((words >> 8) & 0x00FF00FF)
        sums = ((pairs & 0xFFFF) + (pairs >> 16)).astype(self.xp.float32)
        values = (sums - self.xp.float32(510)) * self.xp.float32(((256**2 - 1) / 3) ** -0.5)
        return self.xp.reshape(values, (self.examples.shape[0], *shape))

    def coarse(self, step: int, shape: tuple[int, ...]) -> Array:
        """(n, *shape) float32 of mean 0 and variance 1, evenly distributed over 16 levels: each half of a byte is one. Eight
        times fewer integers than `bell` takes, for directions of many features, whose sums it leaves normal."""
        xp, count = self.xp, int(np.prod(shape, dtype=np.int64))
        words = self.integers(step, -(-count // 8))
        octets = words.astype("<u4", copy=False).view(xp.uint8)
        values = xp.concat([octets & 15, octets >> 4], axis=1)[:, :count].astype(xp.float32)
        values -= xp.float32(7.5)
        values *= xp.float32(((16**2 - 1) / 12) ** -0.5)
        return xp.reshape(values, (words.shape[0], *shape))


def _philox(xp: Any, even: Array, odd: Array, key: tuple[int, int]) -> tuple[Array, Array]:
    """Ten rounds of Philox4x32. even, odd: (2, ...) uint64 that hold 32-bit words, the counter's first and third and its
    second and fourth; given back as the output's."""
    ends = (1,) * (even.ndim - 1)
    factors = xp.asarray([_M0, _M1], dtype=xp.uint64).reshape((2, *ends))
    turns = [[(key[0] + turn * _W0) & _MASK, (key[1] + turn * _W1) & _MASK] for turn in range(10)]
    for keys in xp.asarray(turns, dtype=xp.uint64).reshape((10, 2, *ends)):
        product = even * factors
        even = (product >> 32)[::-1]
        even ^= odd
        even ^= keys
        product &= xp.uint64(_MASK)
        odd = product[::-1]
    return even, odd
