"""What is known to help, and what is known not to."""

from auditor.report.blocks import Items, Paragraph, Section
from auditor.report.focus import focuses
from auditor.report.schema import Report

_HELP = (
    "Adversarial training (Madry et al. 2018; TRADES, Zhang et al. 2019), with more or generated data where there is some "
    "(Gowal et al. 2021; Wang et al. 2023): the only empirical defence that has stood adaptive attacks on images for years. "
    "It costs clean accuracy; train at the eps that matters and audit the result again.",
    "Certified training (interval bounds, Gowal et al. 2018) or randomised smoothing (Cohen et al. 2019), where a proof is "
    "needed: the smoothed classifier is another classifier and has to be audited as such.",
    "Fewer ways in: narrower input ranges, whole grey levels, fixed preprocessing. An attacker then has less to work with; "
    "how much less, an audit with the same constraints says.",
)
_NO_HELP = (
    "Hiding gradients (input quantisation, thresholds, saturation, random layers): attacks without gradients or through "
    "such steps went around six of seven defences of this kind completely, and around one in part (Athalye et al. 2018).",
    "Detecting adversarial inputs, or denoising them: an attacker who knows of it includes it in the attack (Carlini & Wagner "
    "2017; Tramèr et al. 2020 broke 13 of 13).",
    "Keeping the model secret: see the transfer and decision-based attacks, which need no gradients.",
)


def section(report: Report) -> Section | None:
    """None where these attacks took nothing away."""
    if all(focus.point.robust_accuracy >= report.clean.accuracy for focus in focuses(report)):
        return None
    masked = [check.check for check in report.diagnosis.checks if check.severity != "info"]
    warned = (Paragraph(f"First clear up what the diagnosis doubts: {', '.join(masked)}."),) if masked else ()
    blocks = (*warned, Paragraph("What helps:"), Items(_HELP), Paragraph("What does not:"), Items(_NO_HELP))
    return Section("remedies", "Remedies", blocks)
