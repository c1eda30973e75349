"""The library alone: an attack in five lines, and no service beside it."""

import json

import numpy as np

from auditor.attacks import Random

FIVE_LINES = """
import numpy as np
from auditor import load_classifier
from auditor.attacks import Random, pgd

with np.load({data!r}) as digits:
    x, y = (digits["x"][:20] / 255).astype(np.float32), digits["y"][:20]
classifier = load_classifier({model!r}, domain=(0, 1))
rng = Random.keyed(np, 0, "pgd", np.arange(len(x)))
attempt = pgd(classifier, x, y, eps=np.full(len(x), 0.2), norm="Linf", rng=rng)
"""

SAID = """
import json, sys
assert np.abs(attempt.x_adv - x).max() <= 0.2
wrong = np.argmax(classifier.logits(attempt.x_adv), axis=1) != y
assert (wrong == attempt.found).all()
loaded = {name.partition(".")[0] for name in sys.modules}
print(json.dumps({"found": int(attempt.found.sum()), "loaded": sorted(loaded)}))
"""

SERVICES = {"typer", "click", "rich", "sqlalchemy", "celery", "redis", "fastapi", "torch", "pyarrow", "yaml"}


def test_an_attack_in_five_lines_loads_no_service(python, demo_model, demo_data):
    said = json.loads(python(FIVE_LINES.format(model=str(demo_model), data=str(demo_data)) + SAID))
    assert said["found"] >= 18
    assert SERVICES.isdisjoint(said["loaded"])


def test_the_package_itself_loads_nothing_heavy(python):
    code = "import sys, json, auditor; print(auditor.__version__, json.dumps(sorted(sys.modules)))"
    version, _, loaded = python(code).partition(" ")
    assert version
    assert {"numpy", "onnx", "onnxruntime", "pydantic"}.isdisjoint(json.loads(loaded))


def test_a_name_that_the_package_does_not_have_is_an_attribute_error(python):
    code = "import auditor\ntry: auditor.nothing\nexcept AttributeError as error: print(error)"
    assert python(code) == "module 'auditor' has no attribute 'nothing'"


def test_the_same_numbers_come_in_this_process_and_in_another(python, demo_model):
    code = (
        "import numpy as np; from auditor.attacks import Random;"
        "print(Random.keyed(np, 3, 'pgd', np.arange(2)).integers(0, 3).tolist())"
    )
    assert json.loads(python(code)) == Random.keyed(np, 3, "pgd", np.arange(2)).integers(0, 3).tolist()
