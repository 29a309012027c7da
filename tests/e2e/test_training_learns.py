"""A small stream learns what is there to be learned, and nothing where nothing is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crnet.data.dataset import ClipDataset, load_batches, stack_scores
from crnet.data.store import read_manifest
from crnet.training.checkpoint import load_net
from crnet.training.features import extract
from crnet.types import Stream
from synthetic import write_store
from tiny_training import TINY_MODEL, TINY_TRANSFORMS, train_tiny


def error_removed(store: Path, run: Path, stream: Stream) -> float:
    """The share of the training median's error on the test split that a trained stream removes."""
    manifest = read_manifest(store)
    test = manifest.rows("test")
    truth, medians = stack_scores(test), np.median(stack_scores(manifest.rows("train")), axis=0)
    weights = train_tiny(store, run, stream, epochs=(4, 10), batch_size=8)
    data = ClipDataset(store, test, TINY_TRANSFORMS, [stream])
    _, predicted = extract(load_net(weights, stream, TINY_MODEL), load_batches(data, 8))
    return float(1 - np.abs(predicted - truth).mean() / np.abs(medians - truth).mean())


@pytest.mark.slow
@pytest.mark.parametrize("stream", ["scene", "face", "audio-text"])
def test_a_stream_beats_the_floor_where_scores_show_and_not_where_they_do_not(tmp_path: Path, stream: Stream) -> None:
    shows = write_store(tmp_path / "shows", clips=100, pixels=24, duration_s=0.25)
    removed = error_removed(shows, tmp_path / "run", stream)
    hides = write_store(tmp_path / "hides", clips=100, pixels=24, duration_s=0.25, shuffled=True)
    control = error_removed(hides, tmp_path / "control", stream)
    print(f"{stream}: removes {removed:.2f} of the floor's error, {control:.2f} with shuffled scores")
    assert removed > 0.3
    assert control < 0.1
