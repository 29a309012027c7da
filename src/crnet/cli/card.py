"""`crnet card`: write the model card of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.options import Command, Licence, Provider, RunFolder, SplitOption, option


@dataclass(frozen=True)
class Card(Command):
    """Write a model card: what is known about a run, and what is not.

    The card is a README.md with metadata for the Hugging Face Hub, under the headings of Annex IV of the EU AI Act. It
    is filled from the bundle and from the results of `crnet evaluate` and `crnet audit` on the same split. Whatever
    these do not hold is said to be unknown, for you to complete; a card that you have completed is not overwritten. It
    is no declaration of conformity.
    """

    run: RunFolder
    split: SplitOption = "test"
    license: Licence = None
    provider: Provider = None
    out: Annotated[Path | None, option("File for the card. By default RUN/README.md.", "FILE")] = None

    def __call__(self) -> int:
        """Write the card and print where it is."""
        from crnet.report.model_card import write_card

        path = write_card(self.run, split=self.split, licence=self.license, provider=self.provider, out=self.out)
        print(path)
        return EXIT_DONE
