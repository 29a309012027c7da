"""Train and measure a whole system."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crnet.commands.outcome import EXIT_DONE
from crnet.device import Device
from crnet.errors import UsageError
from crnet.terminal import bars, console, print_json

if TYPE_CHECKING:
    from crnet.evaluation import Evaluation
    from crnet.progress import Progress


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
    from crnet.evaluation_tables import tables

    screen = console()
    with bars() as progress:
        result = run_demo(out, clips=clips, seed=seed, progress=progress)
    for table in tables(result.evaluation):
        screen.print(table)
    for line in result.summary():
        screen.print(line, highlight=False)
    return EXIT_DONE


def train(
    data: Path,
    run: Path,
    /,
    *,
    preset: str = "paper",
    streams: str = "scene,face,audio-text",
    seed: int | None = None,
    init: Path | None = None,
    protocol: str = "official",
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
        protocol: Which clips train: official splits, video-disjoint, identity-disjoint, or one fold of several, such as
            grouped-kfold:5:1. `crnet evaluate` then tests on the clips that are left.
    """
    from crnet.config import PRESETS, with_seed
    from crnet.data.protocols import Protocol
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
        bundle = train_system(data, run, config, progress, protocol=Protocol.parse(protocol))
    if bundle is not None:
        print(f"trained: {bundle.path}; next: crnet evaluate {run} {data}")
    return EXIT_DONE


def evaluate(
    run: Path,
    data: Path,
    /,
    *,
    split: Literal["train", "val", "test"] = "test",
    protocol: str | None = None,
    allow_missing: bool = False,
    device: Device = "auto",
    json: bool = False,
) -> int:
    """Measure a trained system on a split, beside the constant-median floor.

    For every target 1-MAE, MAE, R2, Pearson, CCC with 95% bootstrap intervals, the share of the floor's error that is
    removed, and the spread of the predictions; each stream alone, scene+face, and all three. Leaves metrics.json,
    predictions.csv and plots in RUN/evaluation/SPLIT, and RUN/report.html. Where a test clip's source video, or person,
    also is in the training or validation split, as of most clips of First Impressions, such clips are measured apart.

    With --protocol the run's configuration is trained anew on other splits of the same clips, in RUN/protocols, which
    takes as long as `crnet train` did (K times for K folds), and both results are shown. Stopped, it goes on.

    Args:
        run: A run that `crnet train` finished.
        data: A store made by `crnet prepare`.
        split: Which clips.
        protocol: By default the splits that the run was trained by. video-disjoint: no source video in two splits;
            identity-disjoint: no person in two (needs persons in DATA); grouped-kfold:5: each clip tested once, by
            networks that saw none of its video or person.
        allow_missing: Go on although some annotated clips could not be prepared; n is printed with every figure.
        device: Where the networks compute; auto takes a GPU if there is one.
        json: Print metrics.json instead of tables.
    """
    from crnet.bundle import training_of
    from crnet.cross_validation import evaluate_protocol
    from crnet.data.protocols import Protocol
    from crnet.evaluation import evaluate_run
    from crnet.evaluation_tables import comparison

    asked = None if protocol is None else Protocol.parse(protocol)
    measure = partial(evaluate_run, run, data, split=split, allow_missing=allow_missing, device=device)
    if asked is None or asked == training_of(run)[1]:
        with bars() as progress:
            own, folder = measure(progress=progress)
            page = _show_run(run, data, own, folder, progress)
        if json:
            print_json(own.to_dict())
        else:
            _print_evaluation(own, folder, page)
        return EXIT_DONE
    with bars() as progress:
        own, _ = measure(progress=progress)
        other, parts = evaluate_protocol(
            run, data, asked, split=split, allow_missing=allow_missing, device=device, progress=progress
        )
        pages = [_show_run(part.run_dir, data, part.evaluation, part.folder, progress) for part in parts]
    if json:
        print_json({"own": own.to_dict(), "protocol": other.evaluation.to_dict()})
        return EXIT_DONE
    _print_evaluation(other.evaluation, other.folder, pages[0] if len(pages) == 1 else None)
    console().print(comparison(own, other.evaluation))
    return EXIT_DONE


def _print_evaluation(evaluation: Evaluation, folder: Path, page: Path | None) -> None:
    from crnet.evaluation_tables import tables

    screen = console()
    for warning in evaluation.warnings:
        screen.print(f"warning: {warning}", style="yellow", highlight=False)
    for table in tables(evaluation):
        screen.print(table)
    screen.print(f"all figures: {folder}" + ("" if page is None else f"; a page to look at: {page}"), highlight=False)


def _show_run(run: Path, data: Path, evaluation: Evaluation, folder: Path, progress: Progress) -> Path | None:
    """Plots and report of an evaluation; without the packages for them, the figures alone have to do."""
    try:
        from crnet.explain.report import show_run
    except ModuleNotFoundError as error:
        print(f'no plots and no report: {error.name} is missing (pip install "crnet[report]")', file=sys.stderr)
        return None
    return show_run(run, data, evaluation, folder, progress)
