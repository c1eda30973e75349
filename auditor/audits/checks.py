"""The diagnosis' checks as functions of values: what would make a robustness figure doubtful, and does it?

Severities: "info" is harmless; "warning" makes a passing gate inconclusive; "error" says not to trust the figure.
The subsample is random, so a count of doubtful examples is read as a draw: a check fires when the lower 97.5 %
limit of the share it estimates lies above what is harmless, Bonferroni-corrected where several eps are looked at,
and never for a single example. Two attacks at one eps are compared as paired draws.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from auditor.attacks.diagnosis import Slopes
from auditor.audits.statistics import ALPHA, lower_limit, net_loss_limits, sign_test

Severity = Literal["info", "warning", "error"]

RARE = 0.002  # the share of examples that AutoAttack's authors let Square alone break (Croce & Hein 2020)
CHANGED = 0.02  # more examples than this broken by doubling the steps is much
REFUTED = 0.01
CLIMBING = 0.05  # of the loss's range, gained in the last quarter of the steps
JUMPY = 0.1  # of the margin, changed within a thousandth of the domain (the threshold of Pintor et al. 2022)
MISSED = 0.05  # of planted adversarial examples (the threshold of Zimmermann et al. 2022)
FEWEST_PLANTED = 8
UNSTABLE = 0.05  # more examples than this share may not have such a loss: some lie next to the boundary
TRANSFERRED = 0.1  # of the points that fool a surrogate, a share below this that break the model says little
STRONGER = 0.01  # an attack alone above the cascade by more than this share is no accident of random starts


@dataclass(frozen=True)
class Check:
    """One thing looked at. message: what was found and, above "info", what to do; evidence: the numbers."""

    check: str
    severity: Severity
    message: str
    evidence: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def surely_above(k: int, n: int, share: float, *, looks: int = 1) -> bool:
    """Whether k of n examples (at least 2) show a true share above `share` at 97.5 %, over `looks` such questions."""
    return k >= 2 and lower_limit(k, n, ALPHA / 2 / looks) > share


def _judged(
    check: str, doubtful: bool, finding: str, advice: str, evidence: dict[str, Any], severity: Severity = "warning"
) -> Check:
    """The finding, which costs nothing unless it is doubtful; then with what to do about it."""
    if doubtful:
        return Check(check, severity, f"{finding}: {advice}", evidence)
    return Check(check, "info", finding, evidence)


def not_made(check: str, why: str) -> Check:
    return Check(check, "info", f"not made: {why}")


def randomised_output(randomised: bool, voted: bool = False) -> Check:
    """voted: the model draws by nodes that are known, so that attacks averaged over its draws and fresh ones decided."""
    if voted:
        return Check(
            "randomised-output",
            "info",
            "the model draws at random; attacks averaged over its draws, and fresh draws decided what counts: see "
            "model.randomness",
        )
    if randomised:
        return Check(
            "randomised-output",
            "error",
            "the model gives different scores for the same input, so that what broke it once need not break it again; "
            "export it without its random nodes (dropout in training mode is the usual reason)",
        )
    return Check("randomised-output", "info", "the same input gives the same scores")


def gradient_agrees(
    access: str, why: str, error: float | None, nonzero: float | None, *, trees: bool = False
) -> Check:
    """What the probe before the audit said of the gradient. access: "white-box", "surrogate-gradient", "score" or
    "decision"; trees: whether attacks searched the trees that the model is made of."""
    evidence = {"error": error, "nonzero": nonzero}
    if access in ("white-box", "surrogate-gradient"):
        return Check("gradient", "info", why, evidence)
    if trees:
        why = "the model is a sum of trees, which has no gradient: attacks searched the trees themselves"
        return Check("gradient", "info", why, evidence)
    advice = "only attacks that need no gradient were run: read the figures as upper bounds of a weak attacker"
    return Check("gradient", "warning", f"{why}; {advice}", evidence)


def gradient_vanishes(slopes: Slopes, *, one_sided: bool = False) -> Check:
    """Whether examples have a gradient at all: where it is zero or not finite, a gradient attack walks blindly. one_sided:
    whether the label's own score may be a constant by what the scores are, so that its slope says nothing."""
    n, zero, broken = len(slopes.zero), int(np.sum(slopes.zero)), int(np.sum(~slopes.finite))
    evidence = {"examples": n, "zero": zero, "not_finite": broken, "zero_label": int(np.sum(slopes.zero_label))}
    if broken:
        return Check(
            "vanishing-gradient",
            "error" if 2 * broken >= n else "warning",
            f"the gradient is not finite on {broken} of {n} examples: look for divisions, logarithms or roots at 0 "
            "inside the model, and judge it by the attacks that need no gradient",
            evidence,
        )
    if surely_above(zero, n, RARE):
        return Check(
            "vanishing-gradient",
            "error" if 2 * zero >= n else "warning",
            f"the gradient of the margin is zero on {zero} of {n} examples: look for rounding, thresholds or saturated "
            "activations inside the model, and judge it by the attacks that need no gradient",
            evidence,
        )
    masked = 0 if one_sided else int(np.sum(slopes.zero_label & ~slopes.zero))
    if surely_above(masked, n, RARE):
        return Check(
            "vanishing-gradient",
            "warning",
            f"the gradient of the label's own score is zero on {masked} of {n} examples, so that attacks see half of their way: "
            "look for saturated activations in front of the scores, and judge the model by the attacks that need no gradient",
            evidence,
        )
    return Check("vanishing-gradient", "info", f"zero on {zero} of {n} examples, finite on all", evidence)


def softmax_saturates(slopes: Slopes, only_cross_entropy: Sequence[str]) -> Check:
    """only_cross_entropy: norms in which every gradient attack of the audit ascends the cross-entropy."""
    lost = int(np.sum(slopes.zero_cross_entropy & ~slopes.zero))
    n = len(slopes.zero)
    evidence = {"examples": n, "saturated": lost, "norms": list(only_cross_entropy)}
    if not surely_above(lost, n, RARE):
        return Check("saturated-softmax", "info", f"the cross-entropy lost its gradient on {lost} of {n}", evidence)
    finding = f"the softmax is so sure that the cross-entropy has no gradient on {lost} of {n} examples"
    if only_cross_entropy:
        return Check(
            "saturated-softmax",
            "warning",
            f"{finding}, and in {', '.join(only_cross_entropy)} no attack ascends another loss; add one that does, "
            "such as --attack apgd-targeted",
            evidence,
        )
    return Check("saturated-softmax", "info", f"{finding}; attacks on the margin are not touched by that", evidence)


def gives_probabilities(scores: str, slopes: Slopes | None) -> Check:
    """scores: what the upload gives, "logits", "probabilities" or "label"."""
    left = slopes is not None and bool(slopes.probabilities.all())
    evidence = {"scores": scores, "attacked": "probabilities" if left else "logits" if slopes else None}
    if left:
        return Check(
            "probabilities",
            "info",
            "the attacked scores are probabilities, and no logits were found behind them: gradients lose precision "
            "where the model is sure; export the model without its softmax",
            evidence,
        )
    if scores == "probabilities":
        found = "they were traced back to logits, which are attacked" if slopes else "only scores are attacked"
        return Check("probabilities", "info", f"the model gives probabilities; {found}", evidence)
    if scores == "label":
        behind = "; white-box attacks follow the scores that these are the largest of" if slopes else ""
        finding = f"the model gives labels only, and a preset's other attacks ask for nothing else{behind}"
        return Check("probabilities", "info", finding, evidence)
    return Check("probabilities", "info", "the model gives logits", evidence)


def loss_jumps(changes: np.ndarray) -> Check:
    """Whether the loss is rough at a scale that nobody sees. changes: (n,), see `jumps`."""
    n = len(changes)
    rough = int(np.sum(~(changes <= JUMPY)))
    evidence = {"examples": n, "unstable": rough, "median_change": float(np.nanmedian(changes)) if n else None}
    finding = f"within a thousandth of the domain the margin changes by over a tenth on {rough} of {n} examples"
    advice = "its gradient says little of where it goes; judge the model by the attacks that need no gradient"
    return _judged("unstable-loss", surely_above(rough, n, UNSTABLE), finding, advice, evidence)


def silent_success(seen: np.ndarray, broken: np.ndarray) -> Check:
    """Whether PGD passed through an adversarial example and gave none. seen, broken: (n,) bool, of every probe in turn;
    seen: some point of its path was adversarial to the attacked graph; broken: a point counts on the upload."""
    n, silent = len(seen), int(np.sum(seen & ~broken))
    evidence = {"runs": n, "silent": silent}
    finding = f"in {silent} of {n} runs a probe met an adversarial example and none counted"
    advice = (
        "what the attacked graph takes for broken the upload does not, or the wrong point was kept; look "
        "for low precision or random nodes in the model"
    )
    return _judged("silent-success", surely_above(silent, n, RARE), finding, advice, evidence)


def never_broken(norms: Sequence[str], nearest: np.ndarray) -> Check:
    """Whether gradient attacks fail even without a limit, where success is always possible (Pintor et al. 2022).

    nearest: (n,) smallest distance at which any of them broke each example, inf where none did.
    """
    n, never = len(nearest), int(np.sum(np.isinf(nearest)))
    evidence = {"examples": n, "never_broken": never, "norms": list(norms)}
    finding = f"no gradient attack breaks {never} of {n} examples at any distance"
    if n and surely_above(never, n, RARE):
        return Check(
            "unconstrained-attack",
            "error",
            f"{finding}, though without a limit every example can be broken: gradients lead nowhere; judge the model by "
            "the attacks that need no gradient",
            evidence,
        )
    return Check("unconstrained-attack", "info", finding, evidence)


def transfers(attack: str, norm: str, eps: str, fooled: int, both: int, *, alone: bool) -> Check:
    """Whether what fools the surrogate breaks the model too. alone: no other attack followed a gradient."""
    evidence = {"attack": attack, "norm": norm, "eps": eps, "fooled": fooled, "both": both}
    finding = f"of {fooled} points that fool the surrogate at {norm} {eps}, {both} break the model ({attack})"
    if alone and fooled and both < TRANSFERRED * fooled:
        return Check(
            "transfer-failure",
            "warning",
            f"{finding}, and no other attack followed a gradient: the surrogate is too unlike the model to say much; "
            "name a closer one",
            evidence,
        )
    return Check("transfer-failure", "info", finding, evidence)


def contested(position: np.ndarray, white: np.ndarray, levels: int) -> tuple[int, np.ndarray]:
    """The level of the grid at which an attack breaks most that no white-box attack does, and what it is: (n,) bool.

    position, white: (n,) position in the grid of the largest eps that each example stands, under this attack alone
    and under all white-box attacks together; -1 where it stands none.
    """
    only = [(position < level) & (white >= level) for level in range(levels)]
    most = int(np.argmax([np.sum(rows) for rows in only]))
    return most, only[most]


def beats_gradients(
    attack: str,
    norm: str,
    eps: Sequence[str],
    position: np.ndarray,
    white: np.ndarray,
    *,
    cascade: np.ndarray | None = None,
    pursued: np.ndarray | None = None,
    check: str = "black-box-beats-white-box",
) -> Check:
    """Whether an attack that sees only scores or decisions breaks what no gradient attack does (Carlini et al. 2019).

    position, white: see `contested`; cascade: the same under all attacks. pursued: (n,) bool, what a longer gradient attack
    breaks at that level of what no other did, None where there was none: a few steps that lacked are no sign of gradients
    that mislead, unless it breaks many more than the whole cascade.
    """
    n = len(position)
    most, only = contested(position, white, len(eps))
    evidence = {"attack": attack, "norm": norm, "examples": n, "eps": eps[most], "only_it": int(np.sum(only))}
    if not only.any():
        finding = f"whatever {attack} ({norm}) alone breaks, white-box attacks alone break too"
        return Check(check, "info", finding, evidence)
    finding = (
        f"{attack} ({norm}) breaks {np.sum(only)} of {n} examples at {eps[most]} that no white-box attack breaks"
    )
    left = int(np.sum(only if pursued is None else only & ~pursued))
    advice = "gradients mislead here; read the figures as upper bounds that a better attack may lower much"
    doubtful = surely_above(left, n, RARE, looks=len(eps))
    if pursued is not None and cascade is not None:
        more = int(np.sum(pursued & (cascade >= most)))
        evidence |= {"left_by_longer": left, "more_by_longer": more}
        finding += f"; a longer one leaves {left} of these, and breaks {more} that all attacks left"
        doubtful = doubtful or surely_above(more, n, CHANGED)
    return _judged(check, doubtful, finding, advice, evidence)


def stands_at_half_domain(broken: np.ndarray, labels: np.ndarray) -> Check:
    """broken: (n,) bool, by any gradient attack within half the domain in Linf; labels: (n,).

    There every input can become the same grey image, which has one class: no more examples than those of the
    largest class can stand the strongest attack (Carlini et al. 2019).
    """
    n, standing = len(broken), int(np.sum(~broken))
    possible = int(np.unique(labels, return_counts=True)[1].max())
    evidence = {"examples": n, "standing": standing, "possible": possible}
    finding = f"{standing} of {n} examples stand an eps of half the domain, where at most {possible} can"
    if surely_above(standing - possible, n, RARE):
        return Check(
            "half-domain-accuracy",
            "warning",
            f"{finding}: gradient attacks miss what a grey image would find; judge the model by the attacks that need "
            "no gradient",
            evidence,
        )
    return Check("half-domain-accuracy", "info", f"{standing} of {n} stand half the domain; {possible} may", evidence)


def one_step_wins(eps: str, norm: str, single: np.ndarray, iterated: np.ndarray) -> Check:
    """Whether FGSM breaks more than PGD at one eps; single, iterated: (n,) bool, broken. One-sided sign test."""
    only_single, only_iterated = int(np.sum(single & ~iterated)), int(np.sum(iterated & ~single))
    evidence = {"norm": norm, "eps": eps, "examples": len(single)}
    evidence |= {"fgsm": int(np.sum(single)), "pgd": int(np.sum(iterated)), "only_fgsm": only_single}
    finding = (
        f"at {norm} {eps} one step breaks {evidence['fgsm']} and 40 steps break {evidence['pgd']} of {len(single)}"
    )
    advice = (
        "the loss is so rough that following its gradient loses the way; judge the model by the "
        "attacks that need no gradient"
    )
    return _judged(
        "pgd-weaker-than-fgsm", sign_test(only_single, only_iterated) <= ALPHA / 2, finding, advice, evidence
    )


_UNFINISHED_ASCENT = (
    "gradient attacks had not come to their end; the preset 'standard' gives them more steps than 'quick', 'thorough' "
    "more than 'standard'"
)


def more_steps_help(eps: str, norm: str, fewer: np.ndarray, more: np.ndarray) -> Check:
    """Whether doubling PGD's steps still breaks much more; fewer, more: (n,) bool, broken with 20 and 40 steps."""
    n, gained, lost = len(fewer), int(np.sum(more & ~fewer)), int(np.sum(fewer & ~more))
    evidence = {"norm": norm, "eps": eps, "examples": n, "only_40_steps": gained, "only_20_steps": lost}
    finding = f"at {norm} {eps} doubling PGD's steps breaks {gained} more of {n} examples and {lost} fewer"
    return _judged(
        "doubling-steps", net_loss_limits(gained, lost, n)[0] > CHANGED, finding, _UNFINISHED_ASCENT, evidence
    )


def restarts_help(eps: str, norm: str, fewer: np.ndarray, more: np.ndarray) -> Check:
    """Whether doubling PGD's random starts still breaks much more; fewer, more: (n,) bool, broken from the first half of
    the starts and from any."""
    n, gained = len(fewer), int(np.sum(more & ~fewer))
    evidence = {"norm": norm, "eps": eps, "examples": n, "only_more_starts": gained}
    finding = f"at {norm} {eps} doubling PGD's starts breaks {gained} more of {n} examples"
    advice = (
        "what is found depends on where an attack starts; add attacks with more starts, such as "
        "--attack minimal-apgd-restarts"
    )
    return _judged("doubling-restarts", surely_above(gained, n, CHANGED), finding, advice, evidence)


def longer_along_surrogates(eps: str, norm: str, more: np.ndarray) -> Check:
    """Whether a longer attack along surrogates breaks much of what all attacks left; more: (n,) bool, what it breaks of it."""
    n, gained = len(more), int(np.sum(more))
    evidence = {"norm": norm, "eps": eps, "examples": n, "only_longer": gained}
    finding = (
        f"at {norm} {eps} a longer attack along surrogates breaks {gained} of {n} examples that all attacks left"
    )
    return _judged("surrogate-steps", surely_above(gained, n, CHANGED), finding, _UNFINISHED_ASCENT, evidence)


def loss_still_rises(eps: str, norm: str, late_rise: np.ndarray) -> Check:
    """late_rise: (m,) of the examples that stand PGD-40, see `Traced.late_rise`; NaN rows are left out."""
    known = late_rise[np.isfinite(late_rise)]
    rising = int(np.sum(known > CLIMBING))
    evidence = {"norm": norm, "eps": eps, "examples": len(known), "rising": rising}
    evidence["median_rise"] = float(np.median(known)) if len(known) else None
    finding = f"at {norm} {eps} PGD's loss still rose at the end on {rising} of {len(known)} examples that it left"
    advice = _UNFINISHED_ASCENT
    return _judged("loss-not-converged", surely_above(rising, len(known), 0.5), finding, advice, evidence)


def claims_refuted(claims: int, refuted: int) -> Check:
    """How many points that the attacks took for adversarial the upload did not confirm."""
    evidence = {"claims": claims, "refuted": refuted}
    finding = f"{refuted} of {claims} points that attacks took for adversarial were refuted by the upload"
    advice = (
        "the attacked graph and the upload decide differently near the boundary, and examples may "
        "stand only for that; look for low precision or random nodes in the model"
    )
    return _judged("refuted-claims", surely_above(refuted, claims, REFUTED), finding, advice, evidence)


def planted_found(norm: str, eps: str, planted: int, found: int, chance: int | None) -> Check:
    """How many planted adversarial examples the stages found; chance: by random noise, None where it was not tried.

    Zimmermann et al. 2022 call an evaluation too weak that finds fewer than 95 %.
    """
    evidence = {"norm": norm, "eps": eps, "planted": planted, "found": found, "by_noise": chance}
    if planted < FEWEST_PLANTED:
        why = f"around {planted} examples only could one be planted that the last layer's features show"
        return Check("planted-examples", "info", f"not made in {norm} at {eps}: {why}", evidence)
    finding = f"the attacks find {found} of {planted} adversarial examples that were planted at {norm} {eps}"
    if chance is not None:
        finding += f", random noise {chance}"
    missed = planted - found
    advice = (
        "what they left standing elsewhere may fall to a better attack; judge the model by the attacks "
        "that find these, or by a larger preset"
    )
    return _judged(
        "planted-examples",
        surely_above(missed, planted, MISSED),
        finding,
        advice,
        evidence,
        "error" if surely_above(missed, planted, 0.5) else "warning",
    )


def beats_cascade(attack: str, norm: str, eps: Sequence[str], position: np.ndarray, cascade: np.ndarray) -> Check:
    """Whether a white-box attack alone breaks examples that the whole cascade, itself included, left standing.

    position, cascade: (n,) as in `beats_gradients`, of the examples on which the cascade is complete. Many such
    examples show that the attacks depend on luck; more of them than the other way round, that the cascade is at fault.
    """
    n = len(position)
    only = [int(np.sum((position < level) & (cascade >= level))) for level in range(len(eps))]
    lacking = [int(np.sum((position >= level) & (cascade < level))) for level in range(len(eps))]
    most = int(np.argmax(only))
    evidence = {"attack": attack, "norm": norm, "examples": n, "eps": eps[most]}
    evidence |= {"only_it": only[most], "only_cascade": lacking[most]}
    if not only[most]:
        finding = f"whatever {attack} ({norm}) alone breaks, the cascade breaks too"
        return Check("alone-beats-cascade", "info", finding, evidence)
    finding = f"{attack} ({norm}) alone breaks {only[most]} of {n} examples at {eps[most]} that the cascade left"
    if not surely_above(only[most], n, STRONGER, looks=len(eps)):
        return Check("alone-beats-cascade", "info", finding, evidence)
    if net_loss_limits(only[most], lacking[most], n, ALPHA / len(eps))[0] > 0:
        advice = "which it should have broken; read the figure as too high, and please report it"
        return Check("alone-beats-cascade", "error", f"{finding}, {advice}", evidence)
    advice = (
        "what is found depends on where an attack starts; the preset 'standard' tries more than 'quick', 'thorough' "
        "more than 'standard'"
    )
    return Check("alone-beats-cascade", "warning", f"{finding}: {advice}", evidence)


def unfinished(missing: Sequence[str]) -> Check:
    """missing: names of diagnostic work items that did not run."""
    if missing:
        return Check(
            "unfinished-diagnosis",
            "warning",
            f"the audit ended before {len(missing)} parts of its diagnosis; repeat the command to resume it",
            {"missing": list(missing)},
        )
    return Check("unfinished-diagnosis", "info", "every part of the diagnosis ran")
