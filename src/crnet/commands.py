"""What each command does: call the work, print what a person wants to know. `crnet.cli` parses."""

from __future__ import annotations

import contextlib
import json as json_module
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crnet.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from crnet.evaluation import Evaluation
    from crnet.progress import Progress
    from crnet.schema import Prediction

Device = Literal["auto", "cpu", "cuda", "mps"]

EXIT_DONE, EXIT_FAILURES, EXIT_ERROR = 0, 1, 2


@contextlib.contextmanager
def bars(console: Console) -> Iterator[Progress]:
    """Progress as bars with an ETA on the terminal's stderr; nothing where nobody watches."""
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Bars(*columns, console=console, disable=not console.is_terminal) as shown:
        tasks: dict[str, TaskID] = {}

        def tell(task: str, done: int, total: int, note: str = "") -> None:
            if task not in tasks:
                tasks[task] = shown.add_task(task, total=total, note="")
            shown.update(tasks[task], completed=done, total=total, note=note)

        yield tell


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=not sys.stdout.isatty())


def simulate(
    out: Path,
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
        workers: Processes; by default one for each core.
        sheet: Only draw a sheet of sample people to this PNG file; `out` is not touched.
    """
    from crnet.data.simulate import draw_sheet
    from crnet.data.simulate import simulate as draw

    if sheet is not None:
        draw_sheet(sheet, seed)
        print(sheet)
        return EXIT_DONE
    with bars(_console(stderr=True)) as progress:
        draw(
            out,
            clips=clips,
            seed=seed,
            seconds=seconds,
            fps=fps,
            height=height,
            difficulty=difficulty,
            identity_disjoint=identity_disjoint,
            label_bias=label_bias,
            silent=silent,
            voice=voice,
            workers=workers,
            progress=progress,
        )
    print(f"{clips} clips in {out}; next: crnet prepare {out} STORE")
    return EXIT_DONE


def prepare(
    source: Path,
    out: Path,
    /,
    *,
    workers: int | None = None,
    frames_per_segment: int | None = None,
    pixels: int = 112,
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
        json: Print the result as JSON.
    """
    from crnet.data.prepare import prepare as make_store
    from crnet.media.settings import MediaSettings

    with bars(_console(stderr=True)) as progress:
        report = make_store(
            source,
            out,
            workers=workers,
            settings=MediaSettings(pixels=pixels, frames_per_segment=frames_per_segment),
            progress=progress,
        )
    failures = [vars(failure) for failure in report.failures]
    if json:
        _print_json({"store": str(out), "done": report.done, "skipped": report.skipped, "failures": failures})
    else:
        print(f"{report.done} clips prepared, {report.skipped} were there already, {len(failures)} failed: {out}")
    for failure in report.failures[:10]:
        print(f"failed: {failure.path}: {failure.reason} ({failure.remedy})", file=sys.stderr)
    if failures:
        print(f"all {len(failures)} failures: {out / 'failures.csv'}", file=sys.stderr)
    return EXIT_FAILURES if failures else EXIT_DONE


def train(
    data: Path,
    run: Path,
    /,
    *,
    preset: str = "paper",
    streams: str = "scene,face,audio-text",
    seed: int | None = None,
    init: Path | None = None,
    **parts: Any,
) -> int:
    """Train the streams and the fusion on a clip store.

    Both stages of every stream, then extra-trees, then one bundle that `crnet predict` and `crnet evaluate` load.
    Stopped at any moment, the same command goes on where it was and ends the same. For several GPUs, start it with
    torchrun --nproc-per-node 4 -m crnet train DATA RUN.

    Args:
        data: A store made by `crnet prepare`.
        run: The run's folder.
        preset: Where every value below starts from: paper (full size), small (learns in minutes on two cores), tiny.
        streams: Which of scene, face and audio-text, with commas.
        seed: Of everything random: weights, order, frames, trees; by default 0.
        init: Weights for the visual backbones, a torchvision-format ResNet-34 as safetensors.
    """
    from crnet.config import PRESETS, with_seed
    from crnet.pipeline import train_system
    from crnet.schema import STREAMS

    names = tuple(name.strip() for name in streams.split(","))
    if not set(names) <= set(STREAMS):
        raise UsageError(f"unknown stream in {streams!r}", remedy=f"name some of {','.join(STREAMS)}")
    config = replace(PRESETS[preset], streams=tuple(s for s in STREAMS if s in names), **parts)  # type: ignore[index]
    if init is not None:
        config = replace(config, model=replace(config.model, init=init))
    if seed is not None:
        config = with_seed(config, seed)
    with bars(_console(stderr=True)) as progress:
        bundle = train_system(data, run, config, progress)
    if bundle is not None:
        print(f"trained: {bundle.path}; next: crnet evaluate {run} {data}")
    return EXIT_DONE


def evaluate(
    run: Path,
    data: Path,
    /,
    *,
    split: Literal["train", "val", "test"] = "test",
    allow_missing: bool = False,
    device: Device = "auto",
    json: bool = False,
) -> int:
    """Measure a trained system on a split, beside the constant-median floor.

    For every target 1-MAE, MAE, R2, Pearson, CCC with 95% bootstrap intervals, the share of the floor's error that is
    removed, and the spread of the predictions; each stream alone, scene+face, and all three. Leaves metrics.json,
    predictions.csv and plots in RUN/evaluation/SPLIT, and RUN/report.html.

    Args:
        run: A run that `crnet train` finished.
        data: A store made by `crnet prepare`.
        split: Which clips.
        allow_missing: Go on although some annotated clips could not be prepared; n is printed with every figure.
        device: Where the networks compute; auto takes a GPU if there is one.
        json: Print metrics.json instead of tables.
    """
    from crnet.evaluation import evaluate_run, tables

    with bars(_console(stderr=True)) as progress:
        evaluation, folder = evaluate_run(
            run, data, split=split, allow_missing=allow_missing, device=device, progress=progress
        )
        page = _show_run(run, data, evaluation, folder, progress)
    if json:
        _print_json(evaluation.to_dict())
        return EXIT_DONE
    console = _console()
    for warning in evaluation.warnings:
        console.print(f"warning: {warning}", style="yellow", highlight=False)
    for table in tables(evaluation):
        console.print(table)
    console.print(f"all figures: {folder}" + ("" if page is None else f"; a page to look at: {page}"), highlight=False)
    return EXIT_DONE


def _show_run(run: Path, data: Path, evaluation: Evaluation, folder: Path, progress: Progress) -> Path | None:
    """Plots and report of an evaluation; without the packages for them, the figures alone have to do."""
    try:
        from crnet.explain.report import show_run
    except ModuleNotFoundError as error:
        print(f'no plots and no report: {error.name} is missing (pip install "crnet[report]")', file=sys.stderr)
        return None
    return show_run(run, data, evaluation, folder, progress)


def predict(
    run: Path,
    videos: tuple[Path, ...],
    /,
    *,
    transcript: str | None = None,
    device: Device = "auto",
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
        device: Where the networks compute; auto takes a GPU if there is one.
        json: Print JSON, one document for one video, one line for each of several.
        csv: Write a table to this file as well.
    """
    import crnet
    from crnet.predict import list_videos, write_predictions

    if not videos:
        raise UsageError("no video given", remedy="name video files or folders")
    paths = list_videos(videos)
    if transcript is not None and len(paths) != 1:
        raise UsageError(f"one transcript for {len(paths)} videos", remedy="put a .txt file beside each video instead")
    system = crnet.load(run, device)
    done = []
    with bars(_console(stderr=True)) as progress:
        for number, prediction in enumerate(system.predict_many(paths, transcript), start=1):
            done.append(prediction)
            if len(paths) > 1:
                progress("scoring", number, len(paths), prediction.error or "")
            if json:
                _print_json(prediction.to_dict(), indent=None if len(paths) > 1 else 2)
            else:
                _show_prediction(prediction)
    if csv is not None:
        write_predictions(done, csv)
    if len(done) == 1 and done[0].error is not None:
        print(f"crnet: {done[0].error}", file=sys.stderr)
        return EXIT_ERROR
    return EXIT_FAILURES if any(prediction.error is not None for prediction in done) else EXIT_DONE


def demo(out: Path = Path("runs/demo"), /, *, clips: int = 480, seed: int = 0) -> int:
    """The whole job on simulated people, in minutes on two cores.

    Draws people, prepares them, trains the three tiny streams and the fusion, evaluates, predicts one clip, and leaves
    tables, plots and report.html in OUT.

    Args:
        out: Where everything goes; the same command goes on where a stopped one was.
        clips: Number of drawn clips.
        seed: Of everything random.
    """
    from crnet.demo import run_demo
    from crnet.evaluation import tables

    console = _console()
    with bars(_console(stderr=True)) as progress:
        result = run_demo(out, clips=clips, seed=seed, progress=progress)
    for table in tables(result.evaluation):
        console.print(table)
    for line in result.summary():
        console.print(line, highlight=False)
    return EXIT_DONE


def _show_prediction(prediction: Prediction) -> None:
    console = _console()
    if prediction.error is not None:
        console.print(f"{prediction.clip}: not scored: {prediction.error}", style="red", highlight=False, markup=False)
        return
    from rich import box
    from rich.table import Table

    faces = prediction.faces
    seen = "" if faces is None else f", face in {faces.found} of {faces.looked_at} frames"
    console.print(
        f"{prediction.clip} ({prediction.duration_s:.1f} s{seen})", style="bold", highlight=False, markup=False
    )
    for warning in prediction.warnings:
        console.print(f"  warning: {warning}", style="yellow", highlight=False, markup=False)
    table = Table("", "score", *prediction.streams, box=box.SIMPLE_HEAD, pad_edge=False)
    for target, score in (prediction.scores or {}).items():
        interval = (prediction.intervals or {}).get(target)
        between = "" if interval is None else f" ({interval[0]:.2f} to {interval[1]:.2f})"
        note = " (high = stable)" if target == "neuroticism" else ""
        streams = (f"{scores[target]:.2f}" for scores in prediction.streams.values())
        table.add_row(target + note, f"{score:.2f}{between}", *streams)
    console.print(table)


def _print_json(document: Mapping[str, Any], indent: int | None = 2) -> None:
    print(json_module.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False), flush=True)
