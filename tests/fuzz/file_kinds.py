"""The kinds of files that are damaged: an intact folder of each, how crnet reads it, what may come out of it.

A result is JSON values, or whatever compares equal. A reading raises a `CrnetError`, returns the intact result, or
returns something else that `judge` finds no fault in.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from crnet.types import TARGETS, TEXT_DIMENSIONS
from tests.fuzz.release_kinds import (
    judge_archives,
    judge_labels,
    make_archives,
    make_labels,
    read_archives,
    read_labels,
)

Result = Any
Judge = Callable[[Result, Result, Path], Iterator[str]]


@dataclass(frozen=True)
class FileKind:
    """One kind of folder.

    Attributes:
        name: Its name in the results.
        make: Writes an intact folder.
        read: Returns what crnet makes of a folder.
        judge: Yields the faults of a result, given the intact result, the result, and the damaged folder.
        weight: How often it is chosen.
        only: Pattern of the files that are damaged.
        after: Called with the folder after the damage.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], Result]
    judge: Judge
    weight: int = 1
    only: str = "**/*"
    after: Callable[[Path], None] = lambda folder: None


def must_be_the_same(intact: Result, result: Result, folder: Path) -> Iterator[str]:
    """Find fault with every other result: the files carry a hash of their content."""
    yield "damage was not noticed"


# A bundle: every file is named with its hash. Signed again after the damage, it is a hostile one.


def make_bundle(folder: Path) -> None:
    """Write the bundle of a small system without training, with intervals."""
    from crnet.bundle.bundle import Bundle
    from crnet.bundle.save import save_bundle
    from crnet.config import Config
    from crnet.data.transforms import TransformConfig
    from crnet.fusion.conformal import Calibration
    from crnet.fusion.fusion import Fusion, FusionConfig
    from crnet.fusion.interval_width import ClipFacts
    from crnet.media.settings import MediaSettings
    from crnet.models.config import ModelConfig
    from crnet.types import STREAMS
    from tests.random_net import random_net

    config = Config(
        transforms=TransformConfig(frames=2, pixels=16, audio_samples=4000),
        model=ModelConfig(frames=2, width=8, blocks=(1, 1, 1, 1)),
        fusion=FusionConfig(fit_on="training", trees=3),
    )
    rng = np.random.default_rng(3)
    networks = {stream: random_net(stream, config.model, seed=1).eval() for stream in STREAMS}
    width = next(iter(networks.values())).head.score_weight.shape[1]  # type: ignore[union-attr]
    scores = rng.uniform(0, 1, (12, len(TARGETS)))
    features = {stream: rng.normal(size=(12, len(TARGETS), int(width))).astype(np.float32) for stream in STREAMS}
    fusion = Fusion.fit(config.fusion, features, scores)
    truth = np.full((20, len(TARGETS)), 0.5)
    calibration = Calibration.fit(
        truth, ClipFacts(truth + 0.15, {}, {stream: np.full(20, 1e9) for stream in STREAMS}), None
    )
    medians, media = np.median(scores, axis=0), MediaSettings(pixels=16, frames_per_segment=1).to_dict()
    bundle = Bundle(config, networks, fusion, "folder", "hashed-ngrams-v1", media, medians, calibration)
    save_bundle(bundle, folder)


@lru_cache(maxsize=1)
def _clip() -> Any:
    from tests.synthetic import make_clip

    return make_clip("clip.mp4", pixels=16, frames_per_segment=1, duration_s=0.25)


def read_bundle(folder: Path) -> Result:
    """Load a bundle and score one clip."""
    from crnet.bundle.load import load_bundle
    from crnet.predict import Predictor

    system = Predictor(load_bundle(folder))
    system.media_settings()
    return system.predict_clip(_clip(), "hello there").to_dict()


def judge_scores(intact: Result, result: Result, folder: Path) -> Iterator[str]:
    """Find scores and intervals that are none."""
    scores = [result["scores"], *result["streams"].values()]
    if not all(0 <= score <= 1 for by_target in scores for score in by_target.values()):
        yield "a score outside [0, 1]"
    if list(result["scores"]) != list(TARGETS):
        yield "scores of other targets"
    for low, high in (result["intervals"] or {}).values():
        if not 0 <= low <= high <= 1:
            yield f"the interval {low} to {high}"


def sign_again(folder: Path) -> None:
    """Write the hashes of the files that are there into bundle.json, as somebody who wants to be believed does."""
    from crnet.bundle.verify import document_sha256
    from crnet.utils.files import sha256

    path = folder / "bundle.json"
    try:
        document = json.loads(path.read_bytes())
        for name in document["files"]:
            document["files"][name] = sha256(folder / name)
        document["sha256"] = document_sha256(document)
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError):
        return  # damaged too much to be signed
    path.write_text(json.dumps(document))


# A clip store.


def make_store(folder: Path) -> None:
    """Write a store of six clips with all its files."""
    from crnet.data.ceiling_file import CEILING_NAME
    from tests.synthetic import write_store

    write_store(folder, clips=6, pixels=16, frames_per_segment=1, duration_s=0.25)
    (folder / "failures.csv").write_text("clip,path,reason,remedy,split\nlost.mp4,/v/lost.mp4,cannot be read,,train\n")
    (folder / CEILING_NAME).write_text(json.dumps({"format": 1, "splits": {"test": {"streams": {}, "floor": {}}}}))


def read_store(folder: Path) -> Result:
    """Read a store as training does; the samples of clips whose files are refused are None."""
    from crnet.data.ceiling_file import read_ceiling
    from crnet.data.dataset import ClipDataset
    from crnet.data.failures import missing_clips
    from crnet.data.manifest import read_manifest
    from crnet.data.transforms import TransformConfig
    from crnet.errors import FormatError

    manifest = read_manifest(folder)
    clips = {}
    for row in manifest.clips:
        dataset = ClipDataset(folder, [row], TransformConfig(frames=32, pixels=16, audio_samples=4000))
        try:
            sample = dataset[0]
        except FormatError as error:
            _check_message(error, folder)
            clips[row.clip_id] = None
            continue
        arrays = (sample.scene, sample.face, sample.audio, sample.text)
        if not all(np.isfinite(array).all() for array in arrays if array is not None):
            raise AssertionError("a sample that is not finite")
        content = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays if a is not None))
        clips[row.clip_id] = {"scores": row.scores, "transcript": row.transcript, "content": content.hexdigest()}
    return {
        "clips": clips,
        "missing": list(missing_clips(manifest, ("train", "val", "test"), folder)),
        "ceiling": json.dumps(read_ceiling(folder)),
    }


def _check_message(error: Exception, folder: Path) -> None:
    if str(folder) not in str(error):
        raise AssertionError(f"a message that names no file: {error}")


def judge_store(intact: Result, result: Result, folder: Path) -> Iterator[str]:
    """Find clips with the labels or the content of another clip, and labels that have changed."""
    for name, clip in result["clips"].items():
        expected = intact["clips"].get(name)
        if clip is None:
            continue
        if expected is None:
            yield f"a clip {name!r:.50} that nobody prepared"
        elif (clip["scores"], clip["transcript"]) != (expected["scores"], expected["transcript"]):
            yield f"{name}: other labels"
        elif any(clip["content"] == other["content"] for key, other in intact["clips"].items() if key != name):
            yield f"{name}: the content of another clip"
    if set(intact["clips"]) - set(result["clips"]):
        yield "a clip has vanished"


# The state of an interrupted training.


def make_training_state(folder: Path) -> None:
    """Write a training state of a small network and its optimizer."""
    import torch

    from crnet.training.checkpoint import Best, TrainState, save_state

    net = _net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    state = TrainState(1, 3, Best(1, 2, 0.9), [{"stage": 1, "epoch": 1, "loss": 0.5}])
    save_state(folder / "last.safetensors", state, net, optimizer)


def _net() -> Any:
    import torch

    torch.manual_seed(0)
    return torch.nn.Linear(4, 3)


def read_training_state(folder: Path) -> Result:
    """Load a training state."""
    from crnet.training.checkpoint import load_state

    net = _net()
    state, optimizer = load_state(folder / "last.safetensors", net)
    tensors = {**net.state_dict(), **optimizer}
    return asdict(state), {name: tensor.tolist() for name, tensor in tensors.items()}


# What the commands record beside their results.


def make_records(folder: Path) -> None:
    """Write the settings of a store and of a run, and the log of a training."""
    from crnet.config import PRESETS, to_dict

    config = json.loads(json.dumps(to_dict(PRESETS["tiny"])))
    (folder / "run.json").write_text(json.dumps({"config": config, "store": "store", "versions": {}}))
    (folder / "prepare.json").write_text(json.dumps(_SETTINGS))
    row = {"stage": 1, "epoch": 1, "train": {"total": 0.5}, "val": {"total": 0.6}, "best": True, "overfitting": None}
    (folder / "log.jsonl").write_text("".join(json.dumps({**row, "epoch": epoch}) + "\n" for epoch in (1, 2, 3)))


_SETTINGS = {"media": {"pixels": 112, "segments": 32}, "encoder": "hashed-ngrams-v1", "format": 1, "fingerprint": "f"}


def read_records(folder: Path) -> Result:
    """Read the records as the next command on the folder does."""
    from crnet.config import PRESETS, to_dict
    from crnet.config import read_config as read
    from crnet.data.prepare import STORE_FOLDER
    from crnet.training.log import count_epochs, read_log

    resumes = STORE_FOLDER.check(folder, _SETTINGS)
    config = to_dict(read(folder / "run.json", PRESETS["paper"]))
    return resumes, config, read_log(folder), count_epochs(folder)


# Text that people write: tables, subtitles, configurations.


def make_table(folder: Path) -> None:
    """Write a CSV of clips with labels."""
    rng = np.random.default_rng(1)
    lines = ["clip,split,person," + ",".join(TARGETS) + ",transcript,group_gender"]
    for i in range(12):
        scores = ",".join(f"{score:.17g}" for score in rng.uniform(0, 1, len(TARGETS)))
        lines.append(f'people/c{i}.mp4,{("train", "val", "test")[i % 3]},p{i},{scores},"said {i}, once",female')
    (folder / "clips.csv").write_text("\n".join(lines) + "\n")


def read_table(folder: Path) -> Result:
    """Read the CSV as `crnet prepare` does."""
    from crnet.data.sources.csv_folder import read_csv

    return {name: asdict(clip) for name, clip in read_csv(folder / "clips.csv").items()}


def judge_table(intact: Result, result: Result, folder: Path) -> Iterator[str]:
    """Find clips whose scores are not in the line that names the clip, and scores outside [0, 1]."""
    text = (folder / "clips.csv").read_text(encoding="utf-8-sig")
    header = text.split("\n", 1)[0]
    separator = max(",;\t", key=header.count)
    lines = [[cell.strip() for cell in line] for line in csv.reader(io.StringIO(text, newline=""), delimiter=separator)]
    for name, clip in result.items():
        scores = clip["scores"]
        if scores is None:
            continue
        if not all(0 <= score <= 1 for score in scores):
            yield f"{name:.50}: a score outside [0, 1]"
        if not any(name in _paths(line) and set(scores) <= set(_numbers(line)) for line in lines):
            yield f"{name:.50}: scores that are not in its line"


def _paths(cells: list[str]) -> list[str]:
    return [cell.replace("\\", "/").replace("//", "/").removeprefix("./") for cell in cells]


def _numbers(cells: list[str]) -> Iterator[float]:
    for cell in cells:
        try:
            yield float(cell)
        except ValueError:
            continue


SUBRIP = "".join(
    f"{i + 1}\n00:00:{2 * i:02d},000 --> 00:00:{2 * i + 1:02d},500\n<i>Line {i}</i> of\nwhat &amp; how she says it\n\n"
    for i in range(20)
)
WEBVTT = "WEBVTT\n\n" + SUBRIP.replace(",", ".")
SUBSTATION = "[Script Info]\nScriptType: v4.00+\n\n[Events]\nFormat: Layer, Start, End, Style, Text\n" + "".join(
    f"Dialogue: 0,0:00:{2 * i:02d}.00,0:00:{2 * i + 1:02d}.50,Default,{{\\i1}}Line {i}\\Nsecond\n" for i in range(20)
)


def make_subtitles(folder: Path) -> None:
    """Write subtitles in each format, and plain text."""
    for suffix, text in (("srt", SUBRIP), ("vtt", WEBVTT), ("ass", SUBSTATION), ("txt", "She says it.\nAnd more.\n")):
        (folder / f"talk.{suffix}").write_text(text)


def read_subtitles(folder: Path) -> Result:
    """Read all transcripts; one that is refused is None."""
    from crnet.errors import LabelError
    from crnet.text.transcripts import read_cues, read_transcript

    found: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        try:
            found[path.name] = (read_transcript(path), [asdict(cue) for cue in read_cues(path)])
        except LabelError as error:
            _check_message(error, folder)
            found[path.name] = None
    return found


def judge_subtitles(intact: Result, result: Result, folder: Path) -> Iterator[str]:
    """Find cues without a sensible time, and text that is not one line."""
    for name, parts in result.items():
        if parts is None:
            continue
        text, cues = parts
        if "\n" in text or "\0" in text:
            yield f"{name}: not one line of text"
        for cue in cues:
            if not (math.isfinite(cue["start_s"]) and 0 <= cue["start_s"] <= cue["end_s"] < 1e9):
                yield f"{name}: a cue from {cue['start_s']} to {cue['end_s']} s"


def make_config(folder: Path) -> None:
    """Write a configuration file."""
    import yaml

    from crnet.config import PRESETS, to_dict

    document = json.loads(json.dumps(to_dict(PRESETS["tiny"])))
    (folder / "config.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


def read_config(folder: Path) -> Result:
    """Read the configuration as `crnet train --config` does."""
    from crnet.config import PRESETS, to_dict
    from crnet.config import read_config as read

    return to_dict(read(folder / "config.yaml", PRESETS["tiny"]))


def judge_nothing(intact: Result, result: Result, folder: Path) -> Iterator[str]:
    """Accept every result: the reader has checked its values, and the file says them."""
    yield from ()


# Files of the published skip-thoughts encoder.


def make_skip_thoughts(folder: Path) -> None:
    """Write small files in the published format."""
    from tests.skip_thoughts_files import write_kiros_files

    write_kiros_files(folder)


def read_skip_thoughts(folder: Path) -> Result:
    """Encode a sentence."""
    from crnet.text.encoders import encoder_by_name

    vectors = encoder_by_name(f"skip-thoughts:{folder}").encode(["I think you know."])
    if vectors.shape != (1, TEXT_DIMENSIONS):
        raise AssertionError(f"vectors of shape {vectors.shape}")
    return vectors.tolist()


def judge_vectors(intact: Result, result: Result, folder: Path) -> Iterator[str]:
    """Find numbers that are not finite."""
    if not np.isfinite(np.array(result)).all():
        yield "a vector that is not finite"


def make_object_table(folder: Path) -> None:
    """Write a table of word vectors as the authors published it: pickled arrays."""
    from tests.skip_thoughts_files import write_object_table

    write_object_table(folder / "utable.npy", np.random.default_rng(4).normal(size=(40, 7)).astype(np.float32))


def read_object_table(folder: Path) -> Result:
    """Convert the table to plain numbers."""
    from crnet.text.skip_thoughts.npy_object_tables import convert_table

    convert_table(folder / "utable.npy", folder / "plain.npy")
    return np.load(folder / "plain.npy").tolist()


KINDS = (
    FileKind("bundle", make_bundle, read_bundle, must_be_the_same, 10),
    FileKind("hostile bundle", make_bundle, read_bundle, judge_scores, 14, after=sign_again),
    FileKind("store", make_store, read_store, judge_store, 22),
    FileKind("manifest", make_store, read_store, judge_store, 10, only="manifest.parquet"),
    FileKind("training state", make_training_state, read_training_state, must_be_the_same, 6),
    FileKind("records", make_records, read_records, judge_nothing, 6),
    FileKind("labels", make_labels, read_labels, judge_labels, 16, "**/*.[pc]*"),
    FileKind("archives", make_archives, read_archives, judge_archives, 8),
    FileKind("table", make_table, read_table, judge_table, 8),
    FileKind("subtitles", make_subtitles, read_subtitles, judge_subtitles, 8),
    FileKind("configuration", make_config, read_config, judge_nothing, 3),
    FileKind("skip-thoughts", make_skip_thoughts, read_skip_thoughts, judge_vectors, 4),
    FileKind("object table", make_object_table, read_object_table, judge_nothing, 3),
)
