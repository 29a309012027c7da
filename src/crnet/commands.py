"""What each command does: call the work, print what a person wants to know. `crnet.cli` parses."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crnet.errors import UsageError
from crnet.terminal import bars, console, print_json, show_prediction

if TYPE_CHECKING:
    from crnet.evaluation import Evaluation
    from crnet.explain.maps import Layer
    from crnet.progress import Progress
    from crnet.schema import Split

Device = Literal["auto", "cpu", "cuda", "mps"]

EXIT_DONE, EXIT_FAILURES, EXIT_ERROR = 0, 1, 2


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
        sheet: Only draw a sheet of sample people to this PNG file; `out` is not touched.
    """
    from crnet.data.simulate.planning import SimulationConfig
    from crnet.data.simulate.speech import best_voice

    if sheet is not None:
        from crnet.data.simulate.sheet import draw_sheet

        draw_sheet(sheet, seed)
        print(sheet)
        return EXIT_DONE
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

    with bars() as progress:
        report = make_store(
            source,
            out,
            workers=workers,
            settings=MediaSettings(pixels=pixels, frames_per_segment=frames_per_segment),
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
    with bars() as progress:
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

    with bars() as progress:
        evaluation, folder = evaluate_run(
            run, data, split=split, allow_missing=allow_missing, device=device, progress=progress
        )
        page = _show_run(run, data, evaluation, folder, progress)
    if json:
        print_json(evaluation.to_dict())
        return EXIT_DONE
    screen = console()
    for warning in evaluation.warnings:
        screen.print(f"warning: {warning}", style="yellow", highlight=False)
    for table in tables(evaluation):
        screen.print(table)
    screen.print(f"all figures: {folder}" + ("" if page is None else f"; a page to look at: {page}"), highlight=False)
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
        csv: Write a table to this file as well, row by row.
    """
    import crnet
    from crnet.predict import list_videos, prediction_table

    if not videos:
        raise UsageError("no video given", remedy="name video files or folders")
    paths = list_videos(videos)
    if transcript is not None and len(paths) != 1:
        raise UsageError(f"one transcript for {len(paths)} videos", remedy="put a .txt file beside each video instead")
    system = crnet.load(run, device)
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
    system = crnet.load(run)
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

    serve_page(run, host=host, port=port, at_once=at_once, limits=limits, announce=announce)
    return EXIT_DONE


def demo(out: Path = Path("runs/demo"), /, *, clips: int = 320, seed: int = 0) -> int:
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

    screen = console()
    with bars() as progress:
        result = run_demo(out, clips=clips, seed=seed, progress=progress)
    for table in tables(result.evaluation):
        screen.print(table)
    for line in result.summary():
        screen.print(line, highlight=False)
    return EXIT_DONE
