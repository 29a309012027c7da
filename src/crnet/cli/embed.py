"""`crnet embed`: replace the text vectors of a clip store."""

from __future__ import annotations

from dataclasses import dataclass

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.options import Command, Engine, Json, NewEncoder, Store, Workers
from crnet.cli.progress import progress_display
from crnet.cli.terminal import print_json
from crnet.utils.executors import LOCAL


@dataclass(frozen=True)
class Embed(Command):
    """Replace the text vectors of a clip store.

    Encodes the transcripts in the store with another text encoder; the videos are not needed. Until the command ends,
    the store has no manifest and no other command can use it. If it is interrupted, run the same command again to
    continue. Systems trained on the old vectors can no longer be used with the store.
    """

    resumes = True

    store: Store
    encoder: NewEncoder
    workers: Workers = None
    engine: Engine = LOCAL
    json: Json = False

    def __call__(self) -> int:
        """Encode the transcripts and print how many clips changed."""
        from crnet.data.embed import embed
        from crnet.text.encoders import encoder_by_name

        encoder = encoder_by_name(self.encoder)
        with progress_display(self.quiet) as progress:
            report = embed(self.store, encoder, progress, workers=self.workers, engine=self.engine)
        if self.json:
            print_json({"store": str(self.store), "encoder": encoder.name, **vars(report)})
            return EXIT_DONE
        print(f"{self.store}: {report.done} clips embedded, {report.skipped} already were (encoder {encoder.name})")
        if report.without_words:
            print(f"{report.without_words} clips have no transcript; their vectors are zeros")
        return EXIT_DONE
