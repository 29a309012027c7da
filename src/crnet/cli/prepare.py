"""`crnet prepare`: from a data set to a clip store."""

from __future__ import annotations

import sys
from pathlib import Path

from crnet.cli.exit_codes import EXIT_DONE, EXIT_FAILURES
from crnet.cli.terminal import bars, print_json


def prepare(
    source: Path,
    out: Path,
    /,
    *,
    workers: int | None = None,
    frames_per_segment: int | None = None,
    pixels: int = 112,
    encoder: str = "hashed-ngrams-v1",
    asr: str | None = None,
    json: bool = False,
) -> int:
    """Turn a data set into a clip store: frames, faces, sound, text vectors.

    Reads the First Impressions v2 release in any shape (zips inside zips, locked test zips, unpacked folders), what
    `crnet simulate` draws, or a folder of videos with a CSV (docs/data.md). Keys of locked zips are asked for, or taken
    from CRNET_FIV2_KEY or CRNET_FIV2_KEY_<NAME OF THE ZIP>. A video that cannot be read becomes a row in
    OUT/failures.csv. Stopped at any moment, the same command goes on where it was.

    Args:
        source: The data set: a folder, a CSV, or a zip of the release.
        out: The store.
        workers: Processes; by default one for each core.
        frames_per_segment: Keep so many frames of each of the 32 segments; by default all of them.
        pixels: Height and width of the stored frames.
        encoder: What turns transcripts into numbers (docs/text.md): hashed-ngrams-v1, skip-thoughts:FOLDER,
            sentence:FOLDER or sentence:NAME.
        asr: Speech recognition for clips of which nobody wrote down what is said: name or folder of a model for
            faster-whisper.
        json: Print the result as JSON.
    """
    from crnet.data.prepare import prepare as make_store
    from crnet.media.settings import MediaSettings
    from crnet.text.asr import FasterWhisper
    from crnet.text.encoders import encoder_by_name

    words = encoder_by_name(encoder)
    recogniser = None if asr is None else FasterWhisper(asr)
    with bars() as progress:
        report = make_store(
            source,
            out,
            workers=workers,
            settings=MediaSettings(pixels=pixels, frames_per_segment=frames_per_segment),
            encoder=words,
            recogniser=recogniser,
            progress=progress,
        )
    failures = [vars(failure) for failure in report.failures]
    if json:
        print_json({"store": str(out), "done": report.done, "skipped": report.skipped, "failures": failures})
    else:
        print(f"{report.done} clips prepared, {report.skipped} were there already, {len(failures)} failed: {out}")
    for failure in report.failures[:10]:
        print(f"failed: {failure.path}: {failure.reason} ({failure.remedy})", file=sys.stderr)
    if failures:
        print(f"all {len(failures)} failures: {out / 'failures.csv'}", file=sys.stderr)
    return EXIT_FAILURES if failures else EXIT_DONE
