"""The order of clips, and their distribution over batches, ranks and workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from crnet.data.dataset import Batches, ClipDataset, collate, load_batches, longest_audio_samples, stack_scores
from crnet.data.manifest import ClipRow, read_manifest
from crnet.data.store import read_clip
from crnet.data.transforms import TransformConfig
from crnet.errors import ConfigError, FormatError, LabelError
from crnet.models.classes import class_indices
from crnet.types import Batch
from synthetic import write_store

CONFIG = TransformConfig(frames=4, pixels=16, audio_samples=2000)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("store"), clips=10, pixels=16, duration_s=0.25, splits=("train",))


def dataset(store: Path, *, training: bool = True, clips: int = 10, seed: int = 0) -> ClipDataset:
    rows = read_manifest(store).rows("train")[:clips]
    return ClipDataset(
        store, rows, CONFIG, ["scene", "audio-text"], seed, class_indices(stack_scores(rows)), training=training
    )


def ids(batches: Batches) -> list[tuple[str, ...]]:
    return [batch.clip_ids for batch in batches]


def bits(batch: Batch) -> bytes:
    tensors = (batch.scene, batch.audio, batch.text, batch.scores, batch.classes)
    return b"".join(t.numpy().tobytes() for t in tensors if t is not None)


def test_each_epoch_shows_each_clip_once_in_a_new_order(store: Path) -> None:
    data = dataset(store)
    batches = load_batches(data, 5)
    orders = []
    for epoch in (0, 1, 0):
        data.set_epoch(epoch)
        orders.append(sum(ids(batches), ()))
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == [row.clip_id for row in data.rows]
    assert sum(ids(load_batches(dataset(store, seed=1), 5)), ()) != orders[0]


def test_an_incomplete_last_batch_is_dropped_unless_it_is_the_only_one(store: Path) -> None:
    assert [len(batch) for batch in ids(load_batches(dataset(store), 4))] == [4, 4]
    assert [len(batch) for batch in ids(load_batches(dataset(store), 30))] == [10]
    assert [len(batch) for batch in ids(load_batches(dataset(store, training=False), 4))] == [4, 4, 2]


@pytest.mark.parametrize("ranks", [2, 3])
def test_all_ranks_together_see_the_global_batches_in_order(store: Path, ranks: int) -> None:
    alone = ids(load_batches(dataset(store), 6))
    shares = [ids(load_batches(dataset(store), 6, rank=rank, ranks=ranks)) for rank in range(ranks)]
    assert [sum(parts, ()) for parts in zip(*shares, strict=True)] == alone


@pytest.mark.parametrize("clips", [1, 2, 7, 10])
def test_evaluation_shares_every_clip_once(store: Path, clips: int) -> None:
    shares = [
        sum(ids(load_batches(dataset(store, training=False, clips=clips), 6, rank=rank, ranks=3)), ())
        for rank in range(3)
    ]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert sorted(sum(shares, ())) == [row.clip_id for row in dataset(store, clips=clips).rows]


def test_batches_do_not_depend_on_workers(store: Path) -> None:
    contents = []
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for workers in (0, 2):
        data = dataset(store)
        batches = load_batches(data, 4, workers=workers)
        for epoch in (0, 1):  # the second epoch reaches workers that are already running
            data.set_epoch(epoch)
            contents.append([bits(batch) for batch in batches])
    assert contents[:2] == contents[2:] and contents[0] != contents[1]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_plain_data_loader_gives_the_same_batches(store: Path, workers: int) -> None:
    data = dataset(store, training=False)
    plain = DataLoader(data, batch_size=4, collate_fn=collate, num_workers=workers)
    assert [bits(batch) for batch in plain] == [bits(batch) for batch in load_batches(data, 4)]


def test_a_plain_data_loader_shuffles_and_shows_other_frames_each_epoch(store: Path) -> None:
    data = dataset(store)
    plain = DataLoader(data, batch_size=5, shuffle=True, collate_fn=collate, generator=torch.Generator().manual_seed(0))
    epochs = []
    for epoch in (0, 1):
        data.set_epoch(epoch)
        batches = list(plain)
        clip_ids = [clip_id for batch in batches for clip_id in batch.clip_ids]
        assert sorted(clip_ids) == [row.clip_id for row in data.rows]
        epochs.append({row.clip_id: data[index].scene.tobytes() for index, row in enumerate(data.rows)})  # type: ignore[union-attr]
    assert epochs[0].keys() == epochs[1].keys() and epochs[0] != epochs[1]


def test_all_paths_may_be_text(store: Path) -> None:
    rows = read_manifest(str(store)).rows("train")[:2]
    text, path = (ClipDataset(form, rows, CONFIG, ["scene"])[0].scene for form in (str(store), store))
    assert np.array_equal(text, path)  # type: ignore[arg-type]
    assert longest_audio_samples(str(store), rows) == 4000
    assert read_clip(str(store / rows[0].file)).clip_id == rows[0].clip_id


def test_a_plain_data_loader_raises_the_error_of_a_damaged_clip(tmp_path: Path) -> None:
    store = write_store(tmp_path, clips=2, pixels=16, duration_s=0.1, splits=("train",))
    (store / read_manifest(store).rows("train")[1].file).unlink()
    with pytest.raises(FormatError, match="clip file not found"):
        list(DataLoader(dataset(store), batch_size=2, collate_fn=collate))


@pytest.mark.parametrize("streams", [["voice"], "scene"])  # the letters of a text are no streams
def test_an_unknown_stream_is_refused(store: Path, streams: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"unknown stream '(voice|s)' \(give a list of scene, face, audio-text\)"):
        ClipDataset(store, read_manifest(store).rows("train"), TransformConfig(), streams)


def test_frames_vary_between_epochs_in_training_only(store: Path) -> None:
    for training in (True, False):
        data = dataset(store, training=training)
        scenes = []
        for epoch in (0, 1):
            data.set_epoch(epoch)
            scenes.append(data[3].scene)
        assert np.array_equal(scenes[0], scenes[1]) is not training


def test_classes_come_from_the_exact_scores(store: Path) -> None:
    row = read_manifest(store).rows("train")[0]
    edge = ClipRow(row.clip_id, row.file, "train", (63 / 90,) * 6)
    data = ClipDataset(store, [edge], CONFIG, ["audio-text"], classes=class_indices(stack_scores([edge])))
    (batch,) = load_batches(data, 1)
    assert batch.classes is not None and batch.classes.tolist() == [[3] * 6]


def test_clips_without_scores_are_refused_for_training_only(store: Path) -> None:
    row = read_manifest(store).rows("train")[0]
    unknown = ClipRow("clip0000.mp4", row.file, None)
    with pytest.raises(LabelError, match=r"1 of 1 clips have no scores, the first is clip0000\.mp4"):
        ClipDataset(store, [unknown], CONFIG, ["scene"], classes=np.zeros((1, 6), np.int64), training=True)
    (batch,) = load_batches(ClipDataset(store, [unknown], CONFIG, ["scene"]), 1)
    assert batch.scores is None and batch.clip_ids == ("clip0000.mp4",)


@pytest.mark.parametrize(
    ("batch_size", "ranks", "clips", "reason"),
    [
        (5, 2, 10, "a batch of 5 clips cannot be shared evenly by 2"),
        (30, 3, 10, "a batch of 10 clips cannot be shared evenly by 3"),
        (0, 1, 10, "batch size 0"),
        (5, 1, 0, "no clips to train on"),
    ],
)
def test_batches_that_cannot_be_shared(store: Path, batch_size: int, ranks: int, clips: int, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load_batches(dataset(store, clips=clips), batch_size, ranks=ranks)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_the_error_names_a_damaged_clip_with_and_without_workers(tmp_path: Path, workers: int, damage: str) -> None:
    store = write_store(tmp_path, clips=2, pixels=16, duration_s=0.1, splits=("train",))
    victim = store / read_manifest(store).rows("train")[1].file
    content = victim.read_bytes()
    victim.unlink()
    if damage == "cut":
        victim.write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError) as caught:
        list(load_batches(dataset(store), 2, workers=workers))
    assert caught.value.path == victim and "Traceback" not in str(caught.value) and caught.value.remedy


def test_longest_audio(store: Path) -> None:
    assert longest_audio_samples(store, read_manifest(store).clips) == 4000
    assert longest_audio_samples(store, []) == 1


def test_clip_files_that_were_exchanged_are_refused(tmp_path: Path) -> None:
    data = dataset(write_store(tmp_path, clips=4, pixels=16, duration_s=0.25, splits=("train",)), clips=4)
    first, second = (tmp_path / row.file for row in data.rows[:2])
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    for index, path in enumerate((first, second)):
        with pytest.raises(FormatError, match="holds the clip") as caught:
            data[index]
        assert caught.value.path == path
    assert data[2].clip_id == data.rows[2].clip_id
