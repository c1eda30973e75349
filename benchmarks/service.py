"""The service: its speed, what it costs beside the work, and whether its memory stays flat.

    python benchmarks/service.py [MEASUREMENT …] [--rounds 3] [--quick] [--json FILE]

Measurements, all of them unless named: first-result, overhead, empty-slices, outcomes, reads, memory, upload.
Each starts a service of its own in a temporary folder, on SQLite and, where AUDITOR_TEST_POSTGRES (default:
postgresql:///test) answers, in a database of its own there. --quick: whether everything runs, not how fast.
"""

import argparse
import json
from pathlib import Path

from serving import empty_slices, first_result, memory, outcomes, overhead, reads, upload

MEASUREMENTS = {
    "first-result": first_result.measure,
    "overhead": overhead.measure,
    "empty-slices": empty_slices.measure,
    "outcomes": outcomes.measure,
    "reads": reads.measure,
    "memory": memory.measure,
    "upload": upload.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measurement", nargs="*", choices=[*MEASUREMENTS, []], help="all unless named")
    parser.add_argument("--rounds", type=int, default=3, help="of what is measured more than once")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second of reads")
    parser.add_argument("--seconds", type=float, default=60.0, help="that reads are sent for, in each setting")
    parser.add_argument("--audits", type=int, default=1000, help="stored when reads are measured")
    parser.add_argument("--quick", action="store_true", help="small numbers: whether everything runs")
    parser.add_argument("--json", type=Path, help="where the figures are written as well")
    options = parser.parse_args()
    figures = {}
    for name in options.measurement or MEASUREMENTS:
        figures[name] = MEASUREMENTS[name](options)
        if options.json:
            options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
