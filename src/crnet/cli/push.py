"""`crnet push`: upload a run to the Hugging Face Hub."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass
from typing import Annotated

from tyro.conf import Positional

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.options import Command, Flag, Json, Licence, Provider, RunFolder, option
from crnet.cli.terminal import print_json
from crnet.errors import UsageError

FIV2_WARNING = (
    "warning: this system was trained on First Impressions v2, whose licence limits what may be done with its weights"
)


@dataclass(frozen=True)
class Push(Command):
    """Upload a run to the Hugging Face Hub.

    Uploads the bundle, which is safetensors and JSON only, and the model card RUN/README.md in one commit; without a
    card, `crnet card` writes one first. A card of another model is refused. A new repository is private unless --public
    is given. Log in with `hf auth login`, or set HF_TOKEN. In Python, crnet.load("ORG/NAME", revision=...) loads the
    system again.
    """

    run: RunFolder
    repository: Annotated[Positional[str], option("Name of the model on the Hub: ORG/NAME.")]
    public: Annotated[Flag, option("Make a new repository public.")] = False
    license: Licence = None
    provider: Provider = None
    json: Json = False

    def __call__(self) -> int:
        """Upload the run and print where it is."""
        from crnet.bundle.hub import push_bundle
        from crnet.bundle.verify import find_bundle, model_info, read_document, run_of
        from crnet.report.card_file import check_card
        from crnet.report.model_card import CARD_FILE, write_card

        folder = find_bundle(self.run)
        document = read_document(folder)
        if document["training_source"] == "first-impressions-v2":
            print(FIV2_WARNING, file=sys.stderr)
        card = run_of(folder) / CARD_FILE
        if not card.is_file():
            write_card(self.run, licence=self.license, provider=self.provider)
        elif self.license or self.provider:
            raise UsageError(
                f"{card} exists, so --license and --provider would change nothing",
                remedy="leave them out, or give them to crnet card",
            )
        check_card(card, model_info(folder, document).fingerprint)
        if self.quiet or not sys.stderr.isatty():
            os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # read when huggingface_hub is imported
        pushed = push_bundle(self.run, self.repository, card, private=not self.public)
        if self.json:
            print_json(asdict(pushed))
        else:
            print(f"{pushed.url}\nload it with crnet.load({pushed.repository!r}, revision={pushed.revision!r})")
        return EXIT_DONE
