"""`crnet export`: a system that predicts without PyTorch, also in int8."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import DisallowNone, Positional

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.options import Command, Json, RunFolder, option
from crnet.cli.progress import progress_display
from crnet.cli.terminal import print_json


@dataclass(frozen=True)
class Export(Command):
    """Export a trained system as OpenVINO graphs, also in int8.

    Writes a bundle for `crnet predict` and `crnet serve`. Its networks are files that any OpenVINO program reads, and
    their features are compared with PyTorch's. With int8, the scene and face networks take about half the time of fp32
    and a quarter of its space, and scores move: the training clips of the store calibrate it, and the bundle records
    what it costs on the validation clips. A bundle in fp32 computes what the run itself computes.
    """

    run: RunFolder
    out: Annotated[Positional[Path], option("Folder for the exported bundle.")]
    precision: Annotated[Literal["fp32", "int8"], option("What the networks compute in.")] = "fp32"
    store: Annotated[
        Path | None,
        DisallowNone,
        option("Clip store that the system was trained on; required for int8.", "STORE_OR_URL"),
    ] = None
    json: Json = False

    def __call__(self) -> int:
        """Export the system and print what was measured."""
        from crnet.bundle.export import export_bundle

        with progress_display(self.quiet) as progress:
            facts = export_bundle(self.run, self.out, self.precision, self.store, progress)
        if self.json:
            print_json({"out": str(self.out), **facts})
            return EXIT_DONE
        print(f"{self.out}: exported in {self.precision}; features differ by {facts['largest_feature_difference']:.1e}")
        if "validation" in facts:
            print(_cost(facts["validation"]))
        return EXIT_DONE


def _cost(validation: dict[str, Any]) -> str:
    """Return what int8 costs, as a sentence."""
    return (
        f"int8 on {validation['clips']} validation clips: 1 - MAE {validation['accuracy']:.4f}, in fp32 "
        f"{validation['accuracy_fp32']:.4f}; scores differ by {validation['mean_score_difference']:.4f} on average and "
        f"by at most {validation['largest_score_difference']:.4f}"
    )
