"""`crnet simulate`: a data set of synthetic people."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.terminal import bars
from crnet.errors import UsageError


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
    from crnet.simulate.planning import SimulationConfig
    from crnet.simulate.speech import best_voice

    if sheet is not None:
        from crnet.simulate.sheet import draw_sheet

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
            from crnet.simulate.write_store import simulate_to_store

            simulate_to_store(out, config, frames_per_segment=frames_per_segment, workers=workers, progress=progress)
        else:
            from crnet.simulate.write_dataset import simulate as draw

            draw(out, config, workers=workers, progress=progress)
    following = f"crnet train {out} RUN" if to_store else f"crnet prepare {out} STORE"
    print(f"{clips} clips in {out}; next: {following}")
    return EXIT_DONE
