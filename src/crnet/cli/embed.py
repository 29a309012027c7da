"""`crnet embed`: give a store the vectors of another text encoder."""

from __future__ import annotations

from pathlib import Path

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.terminal import bars, print_json


def embed(store: Path, /, *, encoder: str, json: bool = False) -> int:
    """Give a prepared store the vectors of another text encoder, without reading a video.

    New vectors come from the transcripts in the store. Stopped at any moment, the same command goes on where it was;
    until it ends, the store has no manifest and nothing uses it. Systems that were trained on the old vectors do not
    fit the store any more.

    Args:
        store: A store made by `crnet prepare`.
        encoder: hashed-ngrams-v1, skip-thoughts:FOLDER, sentence:FOLDER or sentence:NAME (docs/text.md).
        json: Print the result as JSON.
    """
    from crnet.data.embed import embed as embed_store
    from crnet.text.encoders import encoder_by_name

    chosen = encoder_by_name(encoder)
    with bars() as progress:
        report = embed_store(store, chosen, progress)
    if json:
        print_json({"store": str(store), "encoder": chosen.name, **vars(report)})
        return EXIT_DONE
    print(f"{report.done} clips embedded, {report.skipped} were already, by {chosen.name}: {store}")
    if report.without_words:
        print(f"{report.without_words} clips have no transcript; their vectors are zeros")
    return EXIT_DONE
