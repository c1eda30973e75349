"""What counts under a threat beside the norms."""

import numpy as np
import pytest

from auditor.attacks.levels import Levels
from auditor.attacks.progress import Examples
from auditor.attacks.space import Space
from auditor.attacks.verify import Verdict
from auditor.threats.judge import judge
from auditor.threats.threat import OtherThreat
from tests.zoo import Zoo


class Largest(Zoo):
    """The class is the place of the largest feature."""

    def scores(self, flat):
        return flat


class Upload:
    """Agrees with `Largest`, except for points that it calls right."""

    def __init__(self, refuses=()):
        self.refuses, self.asked = list(refuses), 0

    def check(self, x_adv, y):
        self.asked += 1
        refused = any(np.array_equal(x_adv, point) for point in self.refuses)
        predicted = y if refused else int(np.argmax(x_adv))
        return Verdict(predicted != y, predicted, 1.0)


def threat(points, settings=({"way": 1},), **choices):
    return OtherThreat("shift", "noise", tuple(settings), points, images=False, **choices)


def shifting(*shifts):
    """Adds each shift in turn to every example, and remembers which rows were still asked for."""

    def points(scene, setting):
        for shift in setting.get("shifts", shifts):
            sent = yield (scene.x + np.float32(shift)).astype(np.float32)
            points.sent.append(None if sent is None else sent.tolist())

    points.sent = []
    return points


UP = np.array([0.0, 2.0])  # moves two features towards class 1
X = np.array([[3, 0], [1, 0], [0, 1]], np.float32)  # far from class 1, near it, wrong when clean
CLEAN = np.array([True, True, False])


def judged(threat, upload=None, clean=CLEAN, space=None):
    examples = Examples(np.arange(3), X, np.zeros(3, np.int64), clean)
    classifier, verifier = Largest((2,), 2), upload or Upload()
    return judge(threat, examples, classifier=classifier, verifier=verifier, space=space or Space(), seed=0)


def test_every_point_is_judged_for_every_example():
    found = judged(threat(shifting(0 * UP, UP, 2 * UP, -UP)))
    assert found.right[:, 0].tolist() == [0.75, 0.5, 0.25]
    assert found.standing[:, 0].tolist() == [False, False, False]
    assert found.forwards.tolist() == [4, 4, 4]
    assert (found.claims, found.refuted) == (6, 0)


def test_what_the_upload_calls_right_is_right():
    upload = Upload(refuses=[np.float32([1, 2])])
    found = judged(threat(shifting(UP)), upload)
    assert found.right[:, 0].tolist() == [1, 1, 0]
    assert (found.claims, found.refuted, upload.asked) == (2, 1, 2)


def test_a_search_leaves_out_what_is_wrong_or_broken():
    points = shifting(UP, 2 * UP)
    found = judged(threat(points, search=True))
    assert found.standing[:, 0].tolist() == [False, False, False]
    assert found.forwards.tolist() == [2, 1, 0]
    assert points.sent == [[True, False, False]]


def test_a_search_goes_on_where_the_upload_refuses():
    upload = Upload(refuses=[np.float32([1, 2])])
    found = judged(threat(shifting(UP, 0.9 * UP), search=True), upload)
    assert found.standing[:, 0].tolist() == [True, False, False]


@pytest.mark.parametrize(("nested", "second"), [(True, [True, False, False]), (False, [True, True, False])])
def test_what_an_earlier_setting_broke_stays_broken_where_settings_are_nested(nested, second):
    settings = {"shifts": [UP]}, {"shifts": [0 * UP]}
    found = judged(threat(shifting(), settings, search=True, nested=nested))
    assert found.standing[:, 0].tolist() == [True, False, False]
    assert found.standing[:, 1].tolist() == second


def test_nothing_is_asked_where_nothing_is_right():
    found = judged(threat(shifting(UP), search=True), clean=np.zeros(3, bool))
    assert not found.standing.any()
    assert not found.forwards.any()


def test_a_point_outside_the_ball_that_its_setting_names_does_not_count():
    settings = [{"norm": "Linf", "eps": eps} for eps in ("1.5", "2")]
    found = judged(threat(shifting(UP), settings, search=True))
    assert found.standing.tolist() == [[True, True], [True, False], [False, False]]
    assert found.refuted == 1


def test_points_are_moved_to_the_inputs_that_there_are():
    levels = Levels((0.0, 3.0), 2)  # 0, 1, 2 and 3
    upload = Upload()
    found = judged(threat(shifting(0.8 * UP), search=True), upload, space=levels)
    assert found.standing[:, 0].tolist() == [True, False, False]  # 1.6 is 2
    assert (judged(threat(shifting(0.7 * UP), search=True), space=levels)).standing[:, 0].tolist() == [
        True,
        True,
        False,
    ]
