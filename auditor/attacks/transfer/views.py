"""What the surrogate is shown in place of a point, so that the gradient fits other models too.

A view maker gives views of a batch of points: each a batch of the same shape and the pull-back of a gradient taken
there. The gradient that counts is the mean over the pulled-back ones.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from operator import mul
from typing import Any, Protocol

from auditor.attacks.planes import Planes
from auditor.attacks.random import Random
from auditor.attacks.transfer.blocks import shuffled
from auditor.attacks.transfer.warp import Warp, resized
from auditor.classifier import Array

View = tuple[Array, Callable[[Array], Array]]


@dataclass(frozen=True)
class Pool:
    """Examples that an attacker has besides those attacked: x (m, *shape) float32, y (m,) int64."""

    x: Array
    y: Array


@dataclass(frozen=True)
class Setting:
    """What views depend on besides the points. black: the value of nothing, the domain's lower end."""

    xp: Any
    planes: Planes
    black: float
    y: Array
    pool: Pool | None

    def warped(self, warp: Warp, x: Array) -> View:
        """Points as seen through a warp, black where it shows nothing."""
        planes = self.planes
        seen = self.xp.float32(self.black) + warp.apply(planes.planes(x) - self.xp.float32(self.black))
        return planes.restored(seen), lambda g: planes.restored(warp.pull(planes.planes(g)))


class Views(Protocol):
    """Makes `copies` views of points. x: (n, *shape) float32, rng: of its own for every call"""

    @property
    def copies(self) -> int: ...

    def __call__(self, setting: Setting, x: Array, rng: Random) -> Iterator[View]: ...


@dataclass(frozen=True)
class Plain:
    """The point itself."""

    copies: int = 1

    def __call__(self, setting: Setting, x: Array, rng: Random) -> Iterator[View]:
        yield x, lambda g: g


@dataclass(frozen=True)
class Diverse:
    """DI: shrunk by a random factor and laid at a random place, with probability `chance`.

    Xie et al. 2019, "Improving transferability of adversarial examples with input diversity", section 3.3.1.
    """

    chance: float = 0.5
    smallest: float = 0.9
    copies: int = 1

    def __call__(self, setting: Setting, x: Array, rng: Random) -> Iterator[View]:
        h, w = setting.planes.size
        for copy in range(self.copies):
            draws = rng.uniform(copy, (4,))
            warp = resized(setting.xp, draws, h, w, chance=self.chance, smallest=self.smallest)
            yield setting.warped(warp, x)


@dataclass(frozen=True)
class Scaled:
    """SI: the point at 1, 1/2, 1/4, ... of its distance from black.

    Lin et al. 2020, "Nesterov accelerated gradient and scale invariance for adversarial attacks", section 3.3.
    """

    copies: int = 5

    def __call__(self, setting: Setting, x: Array, rng: Random) -> Iterator[View]:
        black = setting.xp.float32(setting.black)
        for copy in range(self.copies):
            share = setting.xp.float32(0.5**copy)
            yield black + (x - black) * share, partial(mul, share)


@dataclass(frozen=True)
class Admixed:
    """Admix: `share` of a random example of another class on top, and the sum at several scales as in SI.

    Wang et al. 2021, "Admix: enhancing the transferability of adversarial attacks", algorithm 1. Without examples to
    mix in it is SI.
    """

    scales: int = 5
    mixes: int = 3
    share: float = 0.2

    @property
    def copies(self) -> int:
        return self.scales * self.mixes

    def __call__(self, setting: Setting, x: Array, rng: Random) -> Iterator[View]:
        for mix in range(self.mixes):
            yield from Scaled(self.scales)(setting, self._mixed(setting, x, rng, mix), rng)

    def _mixed(self, setting: Setting, x: Array, rng: Random, mix: int) -> Array:
        xp, pool = setting.xp, setting.pool
        if pool is None or not pool.x.shape[0]:
            return x
        order = xp.where(pool.y[None, :] == setting.y[:, None], -1, rng.uniform(mix, (pool.x.shape[0],)))
        return x + xp.float32(self.share) * (pool.x[xp.argmax(order, axis=1)] - xp.float32(setting.black))


@dataclass(frozen=True)
class Shuffled:
    """BSR: blocks change places and turn; see `blocks`."""

    copies: int = 20
    blocks: int = 2
    degrees: float = 24.0

    def __call__(self, setting: Setting, x: Array, rng: Random) -> Iterator[View]:
        h, w = setting.planes.size
        for copy in range(self.copies):
            stream = rng.split(f"copy {copy}")
            yield setting.warped(shuffled(setting.xp, stream, h, w, blocks=self.blocks, degrees=self.degrees), x)


@dataclass(frozen=True)
class Through:
    """Each view of `first`, seen through each view of `second`."""

    first: Views
    second: Views

    @property
    def copies(self) -> int:
        return self.first.copies * self.second.copies

    def __call__(self, setting: Setting, x: Array, rng: Random) -> Iterator[View]:
        for copy, (seen, pull) in enumerate(self.first(setting, x, rng.split("first"))):
            for again, back in self.second(setting, seen, rng.split(f"second {copy}")):
                yield again, partial(_both, back, pull)


def _both(first: Callable[[Array], Array], second: Callable[[Array], Array], g: Array) -> Array:
    return second(first(g))
