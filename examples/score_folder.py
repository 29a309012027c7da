"""Score every video of a folder, and get a pandas table.

python examples/score_folder.py RUN FOLDER [--out scores.parquet]

RUN is a run of `crnet train` or `crnet demo`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

import crnet
from crnet.types import TARGETS


def score_folder(run: Path, folder: Path) -> pd.DataFrame:
    """Return one row per video: scores, intervals, warnings, and the reason where there is no score."""
    system = crnet.load(run, device="cpu")
    predictions = system.predict_many([folder], workers=1)  # a worker process reads; a broken file costs no other
    return pd.DataFrame(prediction.to_row() for prediction in predictions)


def main() -> None:
    """Score, print and save the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, help="also write the table to this Parquet file")
    options = parser.parse_args()

    table = score_folder(options.run, options.folder)
    scored = table[table["error"].isna()]
    print(scored[["clip", *TARGETS]].to_string(index=False, float_format="{:.3f}".format))
    print(scored[list(TARGETS)].describe().loc[["count", "mean", "std"]].to_string(float_format="{:.3f}".format))
    for row in table[table["error"].notna()].itertuples():
        print(f"not scored: {row.error}")
    for warning, count in scored["warnings"].value_counts().items():
        print(f"{count} clips: {warning or 'no warning'}")
    if options.out is not None:
        table.to_parquet(options.out)


if __name__ == "__main__":
    main()
