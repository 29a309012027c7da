"""Audit the predictions of a system that crnet knows nothing about.

python examples/audit_predictions.py [FOLDER]

The script first writes what the owner of such a system would hand out: predictions, labels and groups as CSV files.
The system is biased on purpose: it scores the agreeableness of women 0.06 too low. The audit must find that.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from crnet.audit.audit import audit, write_audit
from crnet.audit.clips import clips_of_tables
from crnet.report.audit_page import headline, write_audit_page
from crnet.types import TARGETS

CLIPS, PERSONS, SHIFT = 1200, 400, -0.06


def write_tables(folder: Path, seed: int = 0) -> tuple[Path, Path, Path]:
    """Write p.csv, l.csv and groups.csv."""
    rng = np.random.default_rng(seed)
    person = rng.integers(PERSONS, size=CLIPS)
    gender = np.where(rng.random(PERSONS) < 0.5, "female", "male")[person]
    labels = np.clip(0.5 + 0.12 * rng.normal(size=(PERSONS, 6))[person] + 0.05 * rng.normal(size=(CLIPS, 6)), 0, 1)
    scores = 0.5 + 0.8 * (labels - 0.5) + 0.04 * rng.normal(size=labels.shape)
    scores[gender == "female", TARGETS.index("agreeableness")] += SHIFT
    clips = pd.Series([f"clip{number:04d}.mp4" for number in range(CLIPS)], name="clip")
    files = folder / "p.csv", folder / "l.csv", folder / "groups.csv"
    pd.concat([clips, pd.DataFrame(np.clip(scores, 0, 1), columns=TARGETS)], axis=1).to_csv(files[0], index=False)
    pd.concat([clips, pd.DataFrame(labels, columns=TARGETS)], axis=1).to_csv(files[1], index=False)
    pd.DataFrame({"clip": clips, "person": [f"person{number}" for number in person], "group_gender": gender}).to_csv(
        files[2], index=False
    )
    return files


def main() -> None:
    """Write the tables, audit them, and print the differences that were found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="for everything; by default a temporary one")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        predictions, labels, groups = write_tables(folder)
        result = audit(clips_of_tables(predictions, labels, [groups]), resamples=500)
        print(headline(result))
        for row in result.differences.found:
            print(
                f"{row.group} against {row.against}, {row.target}, {row.quantity}: {row.value:+.3f}"
                f" (95% interval {row.low:+.3f} to {row.high:+.3f})"
            )
        found = {(row.target, row.quantity) for row in result.differences.found}
        print(
            f"planted: agreeableness, bias, {SHIFT:+.2f}: {'found' if ('agreeableness', 'bias') in found else 'missed'}"
        )
        write_audit(result, folder / "audit")
        print(f"report: {write_audit_page(result, folder / 'audit')}")


if __name__ == "__main__":
    main()
