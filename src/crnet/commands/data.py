"""From nothing or from videos to a clip store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from crnet.commands.outcome import EXIT_DONE, EXIT_FAILURES
from crnet.errors import UsageError
from crnet.terminal import bars, print_json


def simulate(
    out: Path | None = None,
    /,
    *,
    clips: int = 10_000,
    seed: int = 0,
    seconds: float = 15.0,
    fps: float = 30.0,
    height: int = 360,
    difficulty: Literal["easy", "fivalike", "hard"] = "fivalike",
    identity_disjoint: bool = False,
    label_bias: tuple[str, ...] = (),
    silent: tuple[Literal["face", "scene", "audio", "text"], ...] = (),
    voice: Literal["espeak", "built-in"] | None = None,
    to_store: bool = False,
    frames_per_segment: int | None = 4,
    workers: int | None = None,
    sheet: Path | None = None,
) -> int:
    """Draw people who talk to a camera, with known scores and cues.

    Writes a data set in the layout of First Impressions v2 that `crnet prepare` reads: videos with sound, both
    annotation pickles and transcripts for three splits, groups, and truth.parquet with every cue.

    Args:
        out: The new folder; the same command goes on where a stopped one was.
        clips: Number of videos, over the three splits 3:1:1.
        seed: Another seed, other people.
        seconds: Length of each video.
        fps: Frames per second.
        height: Of the picture, in pixels; the width is 16:9.
        difficulty: How strongly the scores show: easy, about as in First Impressions (fivalike), or hard.
        identity_disjoint: Nobody appears in two splits.
        label_bias: Shift a group's labels by a known amount, to test audits: gender=female:interview:-0.05; several
            with spaces between.
        silent: Kinds of cues that carry no signal at all, for controls.
        voice: Real speech by eSpeak NG, or the built-in voice; by default real speech where it is installed.
        to_store: Write a clip store at once, without videos: what `crnet prepare` makes of them, in a fraction of the
            time and with neither PyAV nor the face detector.
        frames_per_segment: With --to-store: frames drawn of each of a clip's 32 segments.
        workers: Processes; by default one for each core.
        sheet: Only draw a sheet of sample people to this PNG file, and no data set.
    """
    from crnet.data.simulate.planning import SimulationConfig
    from crnet.data.simulate.speech import best_voice

    if sheet is not None:
        from crnet.data.simulate.sheet import draw_sheet

        draw_sheet(sheet, seed)
        print(sheet)
        return EXIT_DONE
    if out is None:
        raise UsageError("no folder is named", remedy="crnet simulate OUT; or --sheet PNG for a sheet of sample people")
    config = SimulationConfig(
        clips, seed, seconds, fps, height, difficulty, identity_disjoint, label_bias, silent, voice or best_voice()
    )
    with bars() as progress:
        if to_store:
            from crnet.data.simulate.storing import simulate_to_store

            simulate_to_store(out, config, frames_per_segment=frames_per_segment, workers=workers, progress=progress)
        else:
            from crnet.data.simulate.writing import simulate as draw

            draw(out, config, workers=workers, progress=progress)
    following = f"crnet train {out} RUN" if to_store else f"crnet prepare {out} STORE"
    print(f"{clips} clips in {out}; next: {following}")
    return EXIT_DONE


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
    from crnet.text.encoders import encoder_by_name
    from crnet.text.speech import FasterWhisper

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
