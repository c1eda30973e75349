"""Attacks, one per file; each is a function of a classifier, examples and labels that gives an Attempt."""

from auditor.attacks.apgd import apgd, apgd_targeted
from auditor.attacks.attempt import Attempt
from auditor.attacks.boundary import boundary
from auditor.attacks.cw import cw, cw_linf
from auditor.attacks.ddn import ddn
from auditor.attacks.deepfool import deepfool, superdeepfool
from auditor.attacks.ead import ead
from auditor.attacks.fab import fab, fab_targeted
from auditor.attacks.fgsm import fgsm
from auditor.attacks.fmn import fmn
from auditor.attacks.hop_skip_jump import hop_skip_jump
from auditor.attacks.minimal_apgd import minimal_apgd
from auditor.attacks.minimal_runs import minimal_apgd_restarts, minimal_apgd_targeted
from auditor.attacks.momentum import mi_fgsm, ni_fgsm
from auditor.attacks.nes import nes
from auditor.attacks.pdpgd import pdpgd
from auditor.attacks.pgd import pgd
from auditor.attacks.pointwise import pointwise
from auditor.attacks.random import Random
from auditor.attacks.rays import rays
from auditor.attacks.sigma_zero import sigma_zero
from auditor.attacks.sign_hunter import sign_hunter
from auditor.attacks.sign_opt import sign_opt
from auditor.attacks.simba import simba
from auditor.attacks.sparse_pgd import sparse_pgd
from auditor.attacks.sparse_rs import sparse_rs
from auditor.attacks.spsa import spsa
from auditor.attacks.square import square
from auditor.attacks.surfree import surfree
from auditor.attacks.targeted import Targeted

__all__ = [
    "Attempt",
    "Random",
    "Targeted",
    "apgd",
    "apgd_targeted",
    "boundary",
    "cw",
    "cw_linf",
    "ddn",
    "deepfool",
    "ead",
    "fab",
    "fab_targeted",
    "fgsm",
    "fmn",
    "hop_skip_jump",
    "mi_fgsm",
    "minimal_apgd",
    "minimal_apgd_restarts",
    "minimal_apgd_targeted",
    "nes",
    "ni_fgsm",
    "pdpgd",
    "pgd",
    "pointwise",
    "rays",
    "sigma_zero",
    "sign_hunter",
    "sign_opt",
    "simba",
    "sparse_pgd",
    "sparse_rs",
    "spsa",
    "square",
    "superdeepfool",
    "surfree",
]
