"""Batches: worker processes read, one odd file costs no other, and the order is that of the paths."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_reader import fake_read

from crnet.batch import ReadJob, Scoring, predict_videos, score_videos
from crnet.bundle.bundle import Bundle
from crnet.data.score_sources import ScoreSource
from crnet.errors import CrnetError, FormatError, MissingDependencyError, StorageError
from crnet.media.limits import FileLimits
from crnet.predict import Predictor
from crnet.types import PREDICTION_COLUMNS, Clip, Prediction
from crnet.utils.executors import Executor, WorkerDied
from crnet.utils.storage import as_path

GOOD = {"a.mp4": "1", "d.mp4": "22", "g.mp4": "333"}


@pytest.fixture
def predictor(bundle: Bundle) -> Predictor:
    return Predictor(bundle)


def write(folder: Path, contents: dict[str, str]) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_text(content)
    return [folder / name for name in contents]


def by_name(predictions: list[Prediction]) -> dict[str, Prediction]:
    return {Path(prediction.clip).name: prediction for prediction in predictions}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_continues_after_files_that_cannot_be_scored(
    tmp_path: Path, predictor: Predictor, workers: int
) -> None:
    folder = tmp_path / "videos"
    (folder / "deep").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    write(folder, {"b.mp4": "good", "notes.txt": "no video", "odd.mp4": "odd"})
    write(folder / "deep", {"a.MOV": "bad"})
    given = [folder, tmp_path / "empty", tmp_path / "missing.mp4", str(folder / "b.mp4")]
    predictions = list(predictor.predict_many(given, workers=workers, read=fake_read))
    assert [(Path(prediction.clip).name, prediction.error) for prediction in predictions] == [
        ("b.mp4", None),
        ("odd.mp4", f"{folder / 'odd.mp4'}: unexpected ZeroDivisionError: oh"),
        ("a.MOV", f"{folder / 'deep' / 'a.MOV'}: not a video (give a video)"),
        ("empty", f"{tmp_path / 'empty'}: a folder without videos (name a video)"),
        ("missing.mp4", f"{tmp_path / 'missing.mp4'}: not a video (give a video)"),
        ("b.mp4", None),
    ]
    for prediction in predictions:
        assert prediction.to_dict()["clip"] == prediction.clip
        assert (prediction.scores is None) == (prediction.error is not None)


@pytest.mark.skipif(sys.platform != "linux", reason="names signals as Linux does")
def test_a_file_that_crashes_or_hangs_costs_no_other(tmp_path: Path, predictor: Predictor) -> None:
    alone = by_name(list(predictor.predict_many(write(tmp_path / "x", GOOD), workers=0, read=fake_read)))
    contents = {"a.mp4": "1", "b.mp4": "crash", "c.mp4": "killed", "d.mp4": "22", "e.mp4": "hang", "g.mp4": "333"}
    paths = write(tmp_path / "x", contents)
    predictions = list(
        predictor.predict_many(paths, workers=1, read=fake_read, limits=FileLimits(max_time_s=3, max_memory_mb=9000))
    )
    assert [prediction.clip for prediction in predictions] == list(map(str, paths))
    named = by_name(predictions)
    assert {name: named[name] for name in GOOD} == alone
    crash = "reading it crashed the worker process (segmentation fault)"
    assert named["b.mp4"].error == f"{paths[1]}: {crash} (report it as a bug, with the file if possible)"
    killed = "the worker process was killed, probably because memory was short (run again, with fewer workers)"
    assert named["c.mp4"].error == f"{paths[2]}: {killed}"
    assert named["e.mp4"].error == (
        f"{paths[4]}: reading it took longer than 3 s (if the file is in order, raise --max-time-s)"
    )


def test_the_order_is_that_of_the_paths_whichever_is_read_first(tmp_path: Path, predictor: Predictor) -> None:
    paths = write(tmp_path / "x", {"a.mp4": "slow", "b.mp4": "1", "c.mp4": "2", "d.mp4": "bad"})
    predictions = list(predictor.predict_many(paths, workers=2, read=fake_read))
    assert [prediction.clip for prediction in predictions] == list(map(str, paths))


@pytest.mark.parametrize("kind", [str, Path])
def test_predict_many_takes_one_path_too(tmp_path: Path, predictor: Predictor, kind: type) -> None:
    write(tmp_path / "x", {"a.mp4": "1", "b.mp4": "2"})
    predictions = predictor.predict_many(kind(tmp_path / "x"), workers=0, read=fake_read)
    assert [Path(prediction.clip).name for prediction in predictions] == ["a.mp4", "b.mp4"]


def test_predict_many_reads_one_video_at_a_time(tmp_path: Path, predictor: Predictor) -> None:
    write(tmp_path / "x", {"a.mp4": "1", "b.mp4": "2"})
    calls = []

    def read(path: Path, settings: object, *, allow_still: bool) -> Clip:
        calls.append(path.name)
        return fake_read(path, settings, allow_still=allow_still)

    predictions = predictor.predict_many([tmp_path / "x"], "hello there", workers=0, read=read)
    first = next(predictions)
    assert calls == ["a.mp4"]
    words = replace(fake_read(tmp_path / "x" / "a.mp4", None, allow_still=False), has_transcript=True)
    encoded = replace(words, text=predictor.encoder.encode(["hello there"])[0])
    assert first.scores == predictor.predict_clip(encoded, "hello there").scores


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(("content", "error"), [("no decoder", MissingDependencyError), ("disk full", StorageError)])
def test_an_error_that_affects_every_video_ends_the_batch(
    tmp_path: Path, predictor: Predictor, content: str, error: type[CrnetError], workers: int
) -> None:
    with pytest.raises(error):
        list(predictor.predict_many(write(tmp_path, {"a.mp4": content}), workers=workers, read=fake_read))


def test_predict_many_makes_a_pandas_data_frame(tmp_path: Path, predictor: Predictor) -> None:
    pandas = pytest.importorskip("pandas")
    write(tmp_path / "x", {"a.mp4": "good", "b.mp4": "bad"})
    predictions = predictor.predict_many([str(tmp_path / "x")], workers=0, read=fake_read)
    frame = pandas.DataFrame(prediction.to_row() for prediction in predictions)
    assert tuple(frame.columns) == PREDICTION_COLUMNS
    assert [Path(clip).name for clip in frame["clip"]] == ["a.mp4", "b.mp4"]
    assert 0 <= frame["extraversion"][0] <= 1 and np.isnan(frame["extraversion"][1])
    assert "not a video" in frame["error"][1]


def test_the_system_is_loaded_while_the_first_video_is_read(tmp_path: Path, predictor: Predictor) -> None:
    """Loading waits here for the reading, so one after the other would take for ever."""
    compiled = []

    def load() -> Predictor:
        for _ in range(1200):
            if (tmp_path / "a.note").exists():
                return predictor
            time.sleep(0.05)
        raise AssertionError("no video was read")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor.networks, "compile", lambda: compiled.append(True))
        scoring = Scoring(load, predictor.media_settings)
        sources = [ScoreSource(str(path), path, "") for path in write(tmp_path, {"a.mp4": "leave a note"})]
        [prediction] = predict_videos(scoring, sources, executor=Executor(1), read=fake_read)
    assert prediction.scores is not None and compiled == [True]


def test_a_system_that_cannot_be_loaded_ends_the_batch(tmp_path: Path, predictor: Predictor) -> None:
    def load() -> Predictor:
        raise FormatError("damaged", path=tmp_path)

    sources = [ScoreSource(str(path), path, "") for path in write(tmp_path, GOOD)]
    for workers in (0, 1):
        with pytest.raises(FormatError, match="damaged"):
            list(
                predict_videos(
                    Scoring(load, predictor.media_settings), sources, executor=Executor(workers), read=fake_read
                )
            )


@dataclass(frozen=True)
class ClusterOfNothing(Executor):
    """Runs nothing, and keeps what the nodes of a cluster would look for."""

    cluster: str | None = ""
    looked_for: list[Path] = field(default_factory=list)

    def run(self, *_: Any, reads: Sequence[Path] = (), **__: Any) -> Iterator[tuple[Any, Any]]:
        self.looked_for.extend(reads)
        return iter(())


def test_nodes_of_a_cluster_look_for_the_system_and_a_video_of_each_folder(
    tmp_path: Path, predictor: Predictor
) -> None:
    a, b = write(tmp_path / "x", {"a.mp4": "1", "b.mp4": "1"})
    (c,) = write(tmp_path / "y", {"c.mp4": "1"})
    paths = [tmp_path / "x" / "gone.mp4", a, b, c, as_path("s3://bucket/d.mp4")]
    scoring = Scoring(lambda: predictor, folder=tmp_path / "run")
    cluster = ClusterOfNothing(1)
    assert not list(score_videos(scoring, [ScoreSource(str(path), path) for path in paths], executor=cluster))
    assert cluster.looked_for == [tmp_path / "run", a, c]


def test_a_killed_worker_leaves_no_copy_of_a_video_in_object_storage(tmp_path: Path, predictor: Predictor) -> None:
    (copy,) = write(tmp_path / "x", {"0.mp4": "1"})
    source = ScoreSource("a.mp4", as_path("s3://bucket/a.mp4"))
    job = ReadJob(0, source, predictor.media_settings(), "", False, frozenset(), copy)
    scored = Scoring(lambda: predictor)(job, WorkerDied(-9))
    assert scored.prediction is not None and "s3://bucket/a.mp4: the worker process was killed" in str(
        scored.prediction.error
    )
    assert scored.file_sha256 == hashlib.sha256(b"1").hexdigest() and not copy.exists()
