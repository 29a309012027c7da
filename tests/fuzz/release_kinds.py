"""Files of the official release that are damaged: label pickles, the table of groups, zips inside zips."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crnet.types import TARGETS
from tests.unit.data.release_files import annotation, encrypted, transcription, zipped

CLIPS = 12
KEY = "secret"


def _clip(i: int) -> str:
    return f"abcdefghij{i:x}.{i:03d}.mp4"


def _scores(seed: int) -> dict[str, tuple[float, ...]]:
    scores = np.random.default_rng(seed).uniform(0, 1, (CLIPS, len(TARGETS)))
    return {_clip(i): tuple(scores[i].tolist()) for i in range(CLIPS)}


def _texts() -> dict[str, str]:
    return {_clip(i): f"these are the words of clip {i}" for i in range(CLIPS)}


def make_labels(folder: Path) -> None:
    """Write a training part with labels, groups, and files that stand for videos."""
    (folder / "train").mkdir()
    for name in _texts():
        (folder / "train" / name).write_bytes(name.encode())
    (folder / "annotation_training.pkl").write_bytes(annotation(_scores(7)))
    (folder / "transcription_training.pkl").write_bytes(transcription(_texts()))
    rows = "".join(f"{name};{name[:11]};{1 + i % 3};{1 + i % 2}\n" for i, name in enumerate(_texts()))
    (folder / "eth_gender_annotations_dev.csv").write_text(f"VideoName;YouTubeID;Ethnicity;Gender\n{rows}")


def read_labels(folder: Path) -> Any:
    """Read the labels of all clips."""
    from crnet.data.sources.open_dataset import open_dataset

    clips = open_dataset(folder, lambda names: None).clips
    return {
        name: {"scores": clip.scores, "transcript": clip.transcript, "groups": dict(clip.groups)}
        for name, clip in clips.items()
    }


def judge_labels(intact: Any, result: Any, folder: Path) -> Iterator[str]:
    """Find scores outside [0, 1], and clips with other labels than Python's own reader finds, or another clip's."""
    documents = {path.name: _independent(path.read_bytes()) for path in folder.glob("*.pkl")}
    scores, texts = documents["annotation_training.pkl"], documents["transcription_training.pkl"]
    for name, clip in result.items():
        if clip["scores"] is not None and not all(0 <= score <= 1 for score in clip["scores"]):
            yield f"{name!r:.50}: a score outside [0, 1]"
        if scores is not None and clip["scores"] is not None:
            expected = tuple(float(scores[target][name]) for target in TARGETS)
            if clip["scores"] != expected:
                yield f"{name!r:.50}: other scores than in the file"
        others = [other for key, other in intact.items() if key != name]
        if scores is None and any(clip["scores"] == other["scores"] for other in others):
            yield f"{name!r:.50}: the scores of another clip"
        if texts is None and clip["transcript"] and any(clip["transcript"] == o["transcript"] for o in others):
            yield f"{name!r:.50}: the words of another clip"


class _PlainUnpickler(pickle._Unpickler):  # type: ignore[misc, name-defined]
    """Python's own reader, in Python, for numbers and texts only. It is the reference, and reads only damaged seeds."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar"), ("numpy", "dtype")}
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return super().find_class(module, name)


def _independent(content: bytes) -> Any:
    """Return what a label file holds, or None if Python's own reader finds no dictionary in it."""
    try:
        document = _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception:
        return None
    return document if isinstance(document, dict) else None


def make_archives(folder: Path) -> None:
    """Write a part of the release as it is distributed: zips inside zips, one of them encrypted."""
    train, test = sorted(_texts())[:6], sorted(_texts())[6:]
    scores, texts = _scores(8), _texts()
    for part, names in (("training", train), ("test", test)):
        labels = {
            f"annotation_{part}.pkl": annotation({name: scores[name] for name in names}),
            f"transcription_{part}.pkl": transcription({name: texts[name] for name in names}),
        }
        (folder / f"{part}_gt.zip").write_bytes(zipped(labels, zipfile.ZIP_DEFLATED))
    inner = {
        f"training80_0{i}.zip": zipped({name: _content(name) for name in train[3 * i : 3 * i + 3]}) for i in range(2)
    }
    (folder / "train-1.zip").write_bytes(zipped(inner, zipfile.ZIP_DEFLATED))
    (folder / "test-1e.zip").write_bytes(encrypted({name: _content(name) for name in test}, KEY))


def _content(name: str) -> bytes:
    """Return bytes that stand for the video of a clip."""
    return np.random.default_rng(list(name.encode())).bytes(600)


def read_archives(folder: Path) -> Any:
    """Unpack all videos as `crnet prepare` does, with the labels of their clips."""
    from crnet.data.sources.archive_keys import Key
    from crnet.data.sources.archives import Member
    from crnet.data.sources.dataset import VideoGroup
    from crnet.data.sources.open_dataset import open_dataset
    from crnet.errors import CrnetError

    def key(names: Sequence[str]) -> Key:
        return Key(KEY, "for the test")

    work = folder.parent / f"{folder.name}-work"
    work.mkdir(exist_ok=True)
    dataset = open_dataset(folder, key)
    contents: dict[str, str] = {}
    for group in dataset.video_groups(work):
        for video in group.videos if isinstance(group, VideoGroup) else ():
            path = work / "video"
            try:
                assert isinstance(video.location, Member)
                video.location.extract(path)
            except CrnetError as error:
                if str(folder) not in str(error):
                    raise AssertionError(f"a message that names no file: {error}") from error
                continue
            contents[video.clip_id] = hashlib.sha256(path.read_bytes()).hexdigest()
    labels = {name: (clip.scores, clip.transcript, clip.split) for name, clip in dataset.clips.items()}
    return {"labels": labels, "contents": contents}


def judge_archives(intact: Any, result: Any, folder: Path) -> Iterator[str]:
    """Find videos with the content of another one or with damaged content, and other labels: zips carry checksums."""
    for name, content in result["contents"].items():
        if content != intact["contents"].get(name):
            yield f"{name!r:.50}: not its own video"
    for name, labels in result["labels"].items():
        if labels != intact["labels"].get(name):
            yield f"{name!r:.50}: not its own labels"
