"""`crnet simulate`: a dataset of synthetic people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import DisallowNone, Positional

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.options import Command, Engine, Flag, Seed, Workers, option
from crnet.cli.progress import progress_display
from crnet.errors import UsageError
from crnet.utils.executors import LOCAL

if TYPE_CHECKING:
    from crnet.simulate.planning import SimulationConfig


@dataclass(frozen=True)
class Simulate(Command):
    """Make a dataset of synthetic people with known scores.

    Generates videos of synthetic people talking to a camera, in the layout of First Impressions v2 that `crnet prepare`
    reads: for each of three splits, videos with sound, an annotation pickle and a transcription pickle; plus the group
    labels and truth.parquet, which records every cue. If it is interrupted, run the same command again to continue.
    """

    resumes = True

    out: Annotated[Positional[Path | None], DisallowNone, option("Folder for the new dataset or clip store.")] = None
    clips: Annotated[int, option("Number of videos, divided 3:1:1 into train, val and test.")] = 10_000
    seed: Seed = 0
    seconds: Annotated[float, option("Length of each video in seconds.")] = 15.0
    fps: Annotated[float, option("Frames per second.")] = 30.0
    height: Annotated[int, option("Frame height in pixels; frames are 16:9.")] = 360
    difficulty: Annotated[
        Literal["easy", "fivalike", "hard"],
        option("How strongly the cues reveal the scores: easy, fivalike (similar to First Impressions) or hard."),
    ] = "fivalike"
    identity_disjoint: Annotated[Flag, option("Keep each person in a single split.")] = False
    label_bias: Annotated[
        tuple[str, ...],
        option(
            "Shift the labels of a group by a known amount, for testing bias audits. Example: "
            "gender=female:interview:-0.05. Separate multiple shifts with spaces.",
            "GROUP=VALUE:TARGET:SHIFT ...",
        ),
    ] = ()
    silent: Annotated[
        tuple[Literal["face", "scene", "audio", "text"], ...],
        option(
            "Cues that should carry no signal, for control experiments: any of face, scene, audio and text.", "CUE ..."
        ),
    ] = ()
    voice: Annotated[
        Literal["espeak", "built-in"] | None,
        DisallowNone,
        option("espeak: speech by eSpeak NG, the default if it is installed. built-in: synthetic sounds, no words."),
    ] = None
    uninformative: Annotated[
        float,
        option(
            "Share of clips, from 0 to 1, whose cues say nothing about their scores. They look like all others, so a "
            "network cannot recognise them.",
            "SHARE",
        ),
    ] = 0.0
    score_rule: Annotated[
        Literal["linear", "classwise"],
        option(
            "How the cues follow the scores. linear: all scores by the same rule. classwise: the direction depends on "
            "the sub-interval of the score (edges 0.5, 0.6 and 0.7)."
        ),
    ] = "linear"
    to_store: Annotated[
        Flag,
        option(
            "Write a clip store directly instead of videos. The result is what `crnet prepare` would produce, in a "
            "fraction of the time and without PyAV or the face detector."
        ),
    ] = False
    frames_per_segment: Annotated[
        int | None, option("With --to-store: frames to draw for each of a clip's 32 segments; None draws all.")
    ] = 4
    workers: Workers = None
    engine: Engine = LOCAL
    sheet: Annotated[
        Path | None, option("Only draw sample people to this PNG file; do not write a dataset.", "FILE.png")
    ] = None

    def __call__(self) -> int:
        """Write the dataset, the clip store, or the sheet of sample people."""
        from crnet.simulate.planning import SimulationConfig
        from crnet.simulate.speech import best_voice

        if self.sheet is not None:
            from crnet.simulate.sample_sheet import draw_sheet

            draw_sheet(self.sheet, self.seed)
            print(self.sheet)
            return EXIT_DONE
        if self.out is None:
            raise UsageError(
                "crnet simulate: OUT is missing", remedy="usage: crnet simulate OUT ..., or --sheet FILE.png"
            )
        config = SimulationConfig(
            self.clips,
            self.seed,
            self.seconds,
            self.fps,
            self.height,
            self.difficulty,
            self.identity_disjoint,
            self.label_bias,
            self.silent,
            self.voice or best_voice(),
            self.uninformative,
            self.score_rule,
        )
        self._simulate(self.out, config)
        next_command = f"crnet train {self.out} RUN" if self.to_store else f"crnet prepare {self.out} STORE"
        print(f"{self.out}: {self.clips} clips; next: {next_command}")
        return EXIT_DONE

    def _simulate(self, out: Path, config: SimulationConfig) -> None:
        with progress_display(self.quiet) as progress:
            if self.to_store:
                from crnet.simulate.write_store import write_store

                write_store(
                    out,
                    config,
                    frames_per_segment=self.frames_per_segment,
                    workers=self.workers,
                    progress=progress,
                    engine=self.engine,
                )
            else:
                from crnet.simulate.write_dataset import write_dataset

                write_dataset(out, config, workers=self.workers, progress=progress, engine=self.engine)
