"""Use a trained system: score videos, explain scores, serve a page."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from crnet.commands.outcome import EXIT_DONE, EXIT_ERROR, EXIT_FAILURES
from crnet.device import Device, Precision
from crnet.errors import UsageError
from crnet.terminal import bars, print_json, show_prediction

if TYPE_CHECKING:
    from crnet.explain.maps import Layer
    from crnet.schema import Split


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
    from crnet.data.source import list_videos

    if not videos:
        raise UsageError("no video given", remedy="name video files or folders")
    paths = list_videos(videos)
    if transcript is not None and len(paths) != 1:
        raise UsageError(f"one transcript for {len(paths)} videos", remedy="put a .txt file beside each video instead")
    system = crnet.load(run, device, encoder=encoder, asr=asr, precision=precision)
    from crnet.predict import prediction_table  # not before: `load` has better to do while torch is imported

    failed, error = 0, None
    table = contextlib.nullcontext(lambda _: None) if csv is None else prediction_table(csv)
    with table as write_row, bars() as progress:
        for number, prediction in enumerate(system.predict_many(paths, transcript), start=1):
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


def explain(
    run: Path,
    what: Path,
    /,
    *,
    out: Path | None = None,
    transcript: str | None = None,
    asr: str | None = None,
    encoder: str | None = None,
    target: str = "interview",
    layer: Literal["layer1", "layer2", "layer3", "layer4"] | None = None,
    window_s: float | None = None,
    stride_s: float | None = None,
    split: Literal["train", "val", "test"] = "test",
    json: bool = False,
) -> int:
    """Explain the scores of a video, or look how often the face's key points are where the network looks.

    Of a video: heat maps for every frame and target, what each stream and each word brought, which moments of the sound
    count, a time line of a long video, and report.html with all of it. Of a clip store: the key-point ratio of the
    paper's Sec. 5.6 over a split, with chance level.

    Args:
        run: A run that `crnet train` finished, or its bundle.
        what: A video, or a store made by `crnet prepare`.
        out: Folder for what is made of a video; by default NAME-explained.
        transcript: What is said, or a .txt, .srt or .vtt file of it. Without it, such a file beside the video is used.
        asr: Speech recognition for a video without a transcript: name or folder of a model for faster-whisper.
        encoder: Where the system's text encoder is now, such as skip-thoughts:FOLDER, if not where it was in training.
        target: Whose heat map lies over the film, and whose colour on the words.
        layer: Stage of the networks to read maps from; by default the latest with 7 or more cells a side.
        window_s: Length of a long video's windows; by default 15 s, or the training clips' length if shorter.
        stride_s: From one window to the next; by default half a window.
        split: Which clips of a store.
        json: Print JSON: explanation.json of a video, the figures of a store.
    """
    from crnet.data.manifest import MANIFEST_NAME

    if (what / MANIFEST_NAME).is_file():
        return _explain_store(run, what, split, layer, json)
    import crnet
    from crnet.explain.video import explain_video

    folder = out or Path(f"{what.stem}-explained")
    system = crnet.load(run, encoder=encoder, asr=asr)
    with bars() as progress:
        explanation = explain_video(
            system,
            what,
            folder,
            transcript=transcript,
            target=target,
            layer=layer,
            window_s=window_s,
            stride_s=stride_s,
            progress=progress,
        )
    if json:
        print_json(explanation.to_dict())
        return EXIT_DONE
    show_prediction(explanation.prediction)
    print(f"a page to look at: {explanation.report}")
    return EXIT_DONE


def _explain_store(run: Path, store: Path, split: Split, layer: Layer | None, json: bool) -> int:
    """The key-point ratio of Sec. 5.6."""
    from crnet.bundle import load_bundle
    from crnet.explain.keypoints import PAPER_RATIO, key_point_ratio

    bundle = load_bundle(run)
    with bars() as progress:
        found = key_point_ratio(bundle, store, split=split, layer=layer, progress=progress)
    if json:
        print_json(found.to_dict())
        return EXIT_DONE
    print(
        f"{100 * found.ratio:.2f}% of {found.points} key points ({found.frames} frames of {found.clips} {split} clips) "
        f"lie on the 30% most active pixels of {found.layer}.\n"
        f"Points thrown anywhere: {100 * found.chance:.0f}%. A disc of that size in the middle of the face crop: "
        f"{100 * found.centred_disc:.2f}%. The paper, on First Impressions v2: {100 * PAPER_RATIO:.2f}%."
    )
    return EXIT_DONE


def serve(
    run: Path,
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    asr: str | None = None,
    encoder: str | None = None,
    at_once: int = 1,
    max_upload_mb: int = 100,
    max_duration_s: float = 120.0,
    max_time_s: float = 300.0,
    max_memory_mb: int = 4096,
    max_waiting: int = 20,
    keep_min: float = 30.0,
) -> int:
    """Serve a web page where people drop a video and see its scores.

    The page and its HTTP API (docs/app.md) fetch nothing from elsewhere and send nothing elsewhere. Videos are decoded
    in processes with limits, scored one after the other, and deleted. Whoever can reach the address can use it.

    Args:
        run: A run that `crnet train` finished, or its bundle.
        host: Address to listen at; 127.0.0.1 is reachable from this machine only, 0.0.0.0 from everywhere.
        port: Port to listen at; 0 takes a free one.
        asr: Speech recognition for videos that come without words: name or folder of a model for faster-whisper that
            is on this machine.
        encoder: Where the system's text encoder is now, such as skip-thoughts:FOLDER, if not where it was in training.
        at_once: Videos scored at the same time; each holds the system in memory.
        max_upload_mb: Largest video file.
        max_duration_s: Longest video.
        max_time_s: Longest time that one video is worked on.
        max_memory_mb: Memory that the work on one video may take.
        max_waiting: Videos that may wait; who comes then is sent away.
        keep_min: Minutes that results can be downloaded; uploads that nobody scored go after that time, too.
    """
    if not hasattr(os, "fork"):
        raise UsageError("this system cannot fork processes", remedy="serve from Linux, macOS or the container")
    from crnet.app.limits import Limits
    from crnet.app.server import serve as serve_page

    limits = Limits(max_upload_mb, max_duration_s, max_time_s, max_memory_mb, max_waiting, keep_min)

    def announce(url: str) -> None:
        print(f"{url} (Ctrl-C ends it)", flush=True)

    serve_page(run, host=host, port=port, at_once=at_once, limits=limits, encoder=encoder, asr=asr, announce=announce)
    return EXIT_DONE
