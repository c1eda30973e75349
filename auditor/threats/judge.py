"""What becomes of examples under a threat: its points are shown to the classifier, and every one that it gets wrong is
checked on the untouched upload, where alone it counts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from auditor import runtime
from auditor.attacks.expectation import Averaged
from auditor.attacks.progress import Examples
from auditor.attacks.shown import shown
from auditor.attacks.space import Space
from auditor.attacks.transformations import Served
from auditor.attacks.verify import Judge
from auditor.classifier import Array, Classifier, Counted
from auditor.spec import exact
from auditor.threats.pixels import Pixels
from auditor.threats.threat import OtherThreat, Scene, Setting


@dataclass(frozen=True)
class Judged:
    """One threat on n examples. right: (n, settings) float64, the share of a setting's points at which the upload is
    right, for a search 1 or 0 for whether no point breaks it; standing: (n, settings) bool, right at all of them.

    claims: points that the classifier gets wrong; refuted: those of them that do not count.
    """

    right: np.ndarray
    standing: np.ndarray
    forwards: np.ndarray
    backwards: np.ndarray
    claims: int
    refuted: int

    @classmethod
    def joined(cls, parts: Sequence["Judged"]) -> "Judged":
        """Several groups of examples, one after another."""
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("right", "standing", "forwards", "backwards")
        }
        return cls(**columns, claims=sum(p.claims for p in parts), refuted=sum(p.refuted for p in parts))


def judge(
    threat: OtherThreat,
    examples: Examples,
    *,
    classifier: Classifier,
    verifier: Judge,
    space: Space,
    seed: int,
    pixels: Pixels | None = None,
    served: Served | None = None,
    draws: int = 1,
) -> Judged:
    """Every setting in turn. Points are moved to the nearest input of the space; one whose setting names a norm and an eps
    counts only within it.

    A threat that follows gradients follows their mean over `draws` passes, behind what is `served`. Any other shows its
    points to the classifier as it is: what does not break the untouched upload counts for nothing."""
    return _Judge(threat, examples, classifier, verifier, space, seed, pixels, served or Served(), draws).judged()


class _Judge:
    def __init__(
        self,
        threat: OtherThreat,
        examples: Examples,
        classifier: Classifier,
        verifier: Judge,
        space: Space,
        seed: int,
        pixels: Pixels | None,
        served: Served,
        draws: int,
    ) -> None:
        xp = classifier.xp
        self.threat, self.examples, self.verifier, self.space = threat, examples, verifier, space
        self.served, self.draws = served, draws
        self.counted = Counted(classifier, len(examples.index))
        self.view = space.view(self.counted, xp.asarray(examples.x))
        self.shown, self.y = shown(self.view.classifier, xp.asarray(examples.y), examples.reading)
        self.claims = self.refuted = 0
        self.scene = Scene(
            classifier=self.shown,
            index=examples.index,
            x=self.view.x,
            y=self.y,
            active=xp.ones(len(examples.index), dtype=bool),
            seed=seed,
            name=threat.name,
            pixels=pixels,
        )

    def judged(self) -> Judged:
        shape = len(self.examples.index), len(self.threat.settings)
        share, standing = np.zeros(shape), np.zeros(shape, dtype=bool)
        left = self.examples.right
        for position, setting in enumerate(self.threat.settings):
            if self.threat.search:
                left = self._search(setting, left if self.threat.nested else self.examples.right)
                share[:, position] = standing[:, position] = left
            else:
                rights = self._each(setting)
                share[:, position], standing[:, position] = np.mean(rights, axis=0), np.all(rights, axis=0)
        forwards, backwards = (runtime.to_host(count) for count in (self.counted.forwards, self.counted.backwards))
        return Judged(share, standing, forwards, backwards, self.claims, self.refuted)

    def _search(self, setting: Setting, left: np.ndarray) -> np.ndarray:
        """The rows of `left` that no point of the setting breaks. (n,) bool"""
        if not left.any():
            return left
        points = self.threat.points(self._seen(left, setting), setting)
        x_adv = next(points)
        while True:
            left = left & self._right(x_adv, left, setting)
            if not left.any():
                return left
            try:
                x_adv = points.send(self.scene.xp.asarray(left))
            except StopIteration:
                return left

    def _each(self, setting: Setting) -> list[np.ndarray]:
        everyone = np.ones(len(self.examples.index), dtype=bool)
        return [
            self._right(x_adv, everyone, setting)
            for x_adv in self.threat.points(self._seen(everyone, setting), setting)
        ]

    def _seen(self, active: np.ndarray, setting: Setting) -> Scene:
        scene = replace(self.scene, active=self.scene.xp.asarray(active))
        if self.threat.access != "white-box" or (self.draws == 1 and not self.served):
            return scene
        behind = self.served.before(self.counted, scene.rng(scene.xp, setting).split("served"))
        view = self.space.view(behind, scene.xp.asarray(self.examples.x))
        seen, _ = shown(view.classifier, scene.xp.asarray(self.examples.y), self.examples.reading)
        return replace(scene, classifier=Averaged(seen, self.draws, self.y))

    def _right(self, points: Array, active: np.ndarray, setting: Setting) -> np.ndarray:
        """Where the model is right; rows outside `active` are not looked at. (n,) bool"""
        scores = runtime.to_host(self.shown.logits(points, active=self.scene.xp.asarray(active)))
        y = self.examples.y
        wrong = active & (np.argmax(scores, axis=1) != runtime.to_host(self.y))
        inputs = runtime.to_host(self.view.input(points))
        for row in np.flatnonzero(wrong):
            self.claims += 1
            allowed = self._allows(inputs[row : row + 1], self.examples.x[row : row + 1], setting)
            if not (allowed and self.verifier.check(inputs[row], int(y[row])).counts):
                self.refuted += 1
                wrong[row] = False
        return ~wrong

    def _allows(self, x_adv: np.ndarray, x: np.ndarray, setting: Setting) -> bool:
        """Whether one point (1, *shape) may take the place of its example."""
        if not self.space.admits(x, x_adv)[0]:
            return False
        if "norm" not in setting:
            return True
        distance = self.space.distances(x, x_adv)[setting["norm"]][0]
        return bool(np.isfinite(distance)) and Fraction(float(distance)) <= exact(setting["eps"])
