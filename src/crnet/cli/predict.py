"""`crnet predict`: score videos."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from crnet.cli.exit_codes import EXIT_DONE, EXIT_ERROR, EXIT_FAILURES
from crnet.cli.terminal import bars, print_json, show_prediction
from crnet.errors import UsageError
from crnet.utils.device import Device, Precision

if TYPE_CHECKING:
    pass


def predict(
    run: Path,
    videos: tuple[Path, ...],
    /,
    *,
    transcript: str | None = None,
    asr: str | None = None,
    encoder: str | None = None,
    device: Device = "auto",
    precision: Precision = "float32",
    json: bool = False,
    csv: Path | None = None,
) -> int:
    """Score videos with a trained system.

    Folders are searched for videos. A file that cannot be scored becomes a row with its reason, the others go on, and
    the exit code is 1. The scores are strangers' impressions, not facts; neuroticism's grows with apparent stability.

    Args:
        run: A run that `crnet train` finished, or its bundle.
        videos: Video files and folders.
        transcript: What is said, or a .txt, .srt or .vtt file of it (of one video). Without it, such a file beside
            the video is used.
        asr: Speech recognition for videos without a transcript: name or folder of a model for faster-whisper.
        encoder: Where the system's text encoder is now, such as skip-thoughts:FOLDER, if not where it was in training.
        device: Where the networks compute; auto takes a GPU if there is one.
        precision: bfloat16 takes 10 to 35% less time where the processor has instructions for it, and moves scores by
            up to 0.003 (of a system that has seen 480 clips or more).
        json: Print JSON, one document for one video, one line for each of several.
        csv: Write a table to this file as well, row by row.
    """
    import crnet
    from crnet.data.sources.source import list_videos
    from crnet.report.prediction_table import prediction_table

    if not videos:
        raise UsageError("no video given", remedy="name video files or folders")
    paths = list_videos(videos)
    if transcript is not None and len(paths) != 1:
        raise UsageError(f"one transcript for {len(paths)} videos", remedy="put a .txt file beside each video instead")
    system = crnet.load(run, device, encoder=encoder, asr=asr, precision=precision)

    failed, error = 0, None
    table = contextlib.nullcontext(lambda _: None) if csv is None else prediction_table(csv)
    with table as write_row, bars() as progress:
        for number, path in enumerate(paths, start=1):
            prediction = system.try_predict(path, transcript)
            write_row(prediction)
            error = prediction.error
            failed += error is not None
            if len(paths) > 1:
                progress("scoring", number, len(paths), prediction.error or "")
            if json:
                print_json(prediction.to_dict(), indent=None if len(paths) > 1 else 2)
            else:
                show_prediction(prediction)
    if len(paths) == 1 and error is not None:
        print(f"crnet: {error}", file=sys.stderr)
        return EXIT_ERROR
    return EXIT_FAILURES if failed else EXIT_DONE
