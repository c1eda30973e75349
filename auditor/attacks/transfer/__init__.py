"""Attacks that craft points on surrogates, which stand in for the upload, and let the upload judge them."""

from auditor.attacks.transfer.ensemble import Ensemble, Surrogate, abreast
from auditor.attacks.transfer.iterative import Crossing, Method, transfer
from auditor.attacks.transfer.methods import METHODS
from auditor.attacks.transfer.views import Admixed, Diverse, Plain, Pool, Scaled, Shuffled, Through

__all__ = [
    "METHODS",
    "Admixed",
    "Crossing",
    "Diverse",
    "Ensemble",
    "Method",
    "Plain",
    "Pool",
    "Scaled",
    "Shuffled",
    "Surrogate",
    "Through",
    "abreast",
    "transfer",
]
