"""How to get the same report, and how to check its adversarial examples without this tool."""

from auditor.report.blocks import Block, Code, Paragraph, Section
from auditor.report.checker import beyond
from auditor.report.command import command
from auditor.report.schema import Report


def section(report: Report) -> Section:
    blocks: list[Block] = [
        Paragraph(
            "With the files of the digests on the first page and the same versions on the same kind of processor, "
            f"this gives results_sha256 {report.results_sha256[:16]}… again:"
        ),
        Code(command(report)),
    ]
    told = (
        "adversarial.npz holds each broken example's nearest counted adversarial example, for anybody to run through the "
        "model again: index, norm, x, x_adv, distance, label, predicted, attack, where x is the example before its change."
    )
    if beyond(report):
        return Section("reproduce", "How to reproduce", (*blocks, Paragraph(told)))
    blocks.append(Paragraph(f"{told} A short script that needs NumPy and ONNX Runtime alone checks every row:"))
    blocks.append(
        Code(
            "auditor export checker report.json --out check_adversarial.py\n"
            "python check_adversarial.py MODEL.onnx report.json adversarial.npz"
        )
    )
    return Section("reproduce", "How to reproduce", tuple(blocks))
