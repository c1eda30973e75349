"""Draws a report's robustness curves: python benchmarks/figure.py audit-demo/report.json docs/curve.png

Needs the `benchmark` extra (matplotlib).
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt

from auditor.report.document import read_report
from auditor.spec import exact

BLUE, GREY = "#1f5fa8", "#6b7280"


def main(report_path: str, figure_path: str) -> None:
    report = read_report(Path(report_path))
    figure, panels = plt.subplots(
        1,
        len(report.curves),
        figsize=(4.6 * len(report.curves), 3.4),
        layout="constrained",
        sharey=True,
        squeeze=False,
    )
    for panel, curve in zip(panels[0], report.curves, strict=True):
        eps = [0.0, *(float(exact(point.eps)) for point in curve.points)]
        clean = (report.clean.accuracy, report.clean.interval)
        values = [clean, *((point.robust_accuracy, point.interval) for point in curve.points)]
        lower, upper = zip(*(interval for _, interval in values), strict=True)
        panel.fill_between(eps, lower, upper, color=BLUE, alpha=0.18, linewidth=0, label="95 % interval")
        panel.plot(
            eps, [value for value, _ in values], color=BLUE, marker="o", markersize=3.5, label="robust accuracy"
        )
        panel.axhline(1 / report.model.classes, color=GREY, linestyle=":", linewidth=1, label="chance")
        panel.set(title=curve.norm, xlabel="eps, in widths of the domain", ylim=(0, 1.02), xlim=(0, None))
        panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("accuracy under attack")
    panels[0][0].legend(frameon=False)
    figure.savefig(figure_path, dpi=150)


if __name__ == "__main__":
    main(*sys.argv[1:])
