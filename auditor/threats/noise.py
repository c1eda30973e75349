"""Random points of the audited balls: what an attack must beat, and a floor under every curve.

Linf: uniform in the ball. L2: uniform on the sphere, so Gaussian noise of a fixed length. L1: projected normal noise.
All inside the domain and the ball, by the rounding of `norms.Ball`.
"""

import numpy as np

from auditor.attacks.catalogue import Passes
from auditor.attacks.grid import Grid
from auditor.attacks.norms import Ball
from auditor.attacks.space import Space
from auditor.errors import SpecError
from auditor.spec import AuditSpec
from auditor.threats.threat import OtherThreat, Points, Scene, Setting

DRAWS = 10


def noise(spec: AuditSpec, space: Space) -> OtherThreat:
    """Ten draws at every eps of every norm. Raises SpecError where only L0 is asked for."""
    threats = {threat.norm: threat for threat in spec.threats if threat.norm != "L0"}
    if not threats:
        raise SpecError("noise is drawn from the balls of Linf, L2 or L1; ask for one of these norms too")
    grids = {norm: Grid(threat, space) for norm, threat in threats.items()}

    def points(scene: Scene, setting: Setting) -> Points:
        norm = setting["norm"]
        level = threats[norm].eps.index(setting["eps"])
        eps = grids[norm].units(np.full(len(scene.index), level))
        ball = Ball(scene.xp, scene.x, scene.xp.asarray(eps), norm, scene.classifier.domain)
        rng = scene.rng(scene.xp, setting)
        for step in range(setting["draws"]):
            yield ball.random(rng, step)

    settings = tuple({"norm": norm, "eps": eps, "draws": DRAWS} for norm in threats for eps in threats[norm].eps)
    cost = Passes(DRAWS * len(settings))
    return OtherThreat("noise", "noise", settings, points, images=False, cost=cost)
