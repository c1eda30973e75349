"""What is chosen where the caller says nothing."""

import pytest

from auditor.audits.choices import chosen_threats, threat_preset
from auditor.errors import SpecError
from auditor.spec import THREAT_PRESETS, Gate


@pytest.mark.parametrize(
    ("shape", "domain", "preset"),
    [
        ((1, 28, 28), (0.0, 1.0), "mnist"),
        ((28, 28, 1), (0.0, 1.0), "mnist"),
        ((3, 32, 32), (0.0, 1.0), "image-8bit"),
        ((32, 32, 3), (0.0, 255.0), "image-8bit"),
        ((1, 64, 64), (0.0, 1.0), "image-8bit"),
        ((3, 224, 224), (0.0, 1.0), "imagenet"),
        ((224, 224, 3), (0.0, 1.0), "imagenet"),
        ((13,), (0.0, 1.0), "tabular"),
        ((13,), None, "tabular"),
        ((3, 32, 32), None, "tabular"),
    ],
)
def test_the_threat_preset_follows_the_kind_of_input(shape, domain, preset):
    assert threat_preset(shape, domain) == preset


def test_without_a_word_the_presets_norms_and_grids_are_taken():
    assert chosen_threats("mnist", (), (), ()) == THREAT_PRESETS["mnist"]


def test_every_norm_has_its_own_eps():
    linf, l1 = chosen_threats("mnist", ("Linf", "L1"), ("0.1, 0.2", "5"), ())
    assert (linf.norm, linf.eps) == ("Linf", ("0.1", "0.2"))
    assert (l1.norm, l1.eps) == ("L1", ("5",))


def test_a_norm_without_eps_takes_the_presets_grid():
    assert chosen_threats("mnist", ("L2",), (), ()) == THREAT_PRESETS["mnist"][1:]


def test_a_gate_adds_its_eps_and_its_norm():
    linf, l1 = chosen_threats("mnist", ("Linf",), ("0.1",), (Gate.parse("Linf:0.15=0.5"), Gate.parse("L1:3=0.5")))
    assert linf.eps == ("0.1", "0.15")
    assert (l1.norm, l1.eps) == ("L1", ("3",))


def test_a_gate_at_an_eps_that_is_there_in_other_words_adds_nothing():
    (linf,) = chosen_threats("mnist", ("Linf",), ("0.5",), (Gate.parse("Linf:1/2=0.5"),))
    assert linf.eps == ("0.5",)


@pytest.mark.parametrize(
    ("preset", "norms", "eps", "words"),
    [
        ("weather", (), (), "no threat preset 'weather'"),
        ("mnist", ("Linf", "L2"), ("0.1",), "2 --norm and 1 --eps"),
        ("mnist", ("L3",), ("1",), "no norm 'L3'"),
        ("mnist", ("Linf", "Linf"), (), "given twice"),
        ("mnist", ("L1",), (), "no eps for L1"),
        ("mnist", ("Linf",), ("",), "''"),
    ],
)
def test_what_cannot_be_chosen_is_refused(preset, norms, eps, words):
    with pytest.raises(SpecError, match=words):
        chosen_threats(preset, norms, eps, ())
