"""A small stream learns scores that the clips show, and nothing from shuffled scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crnet.data.dataset import ClipDataset, load_batches, stack_scores
from crnet.data.manifest import read_manifest
from crnet.models.inference import extract
from crnet.training.checkpoint import load_net
from crnet.types import Stream
from synthetic import write_store
from tiny_training import TINY_MODEL, TINY_TRANSFORMS, train_tiny


def error_removed(store: Path, run: Path, stream: Stream) -> float:
    """Return the share of the training median's test error that a trained stream removes."""
    manifest = read_manifest(store)
    test = manifest.rows("test")
    truth, medians = stack_scores(test), np.median(stack_scores(manifest.rows("train")), axis=0)
    weights = train_tiny(store, run, stream, epochs=(4, 10), batch_size=8)
    data = ClipDataset(store, test, TINY_TRANSFORMS, [stream])
    _, predicted = extract(load_net(weights, stream, TINY_MODEL), load_batches(data, 8))
    return float(1 - np.abs(predicted - truth).mean() / np.abs(medians - truth).mean())


@pytest.mark.slow
@pytest.mark.parametrize("stream", ["scene", "face", "audio-text"])
def test_a_stream_beats_the_floor_only_if_clips_show_their_scores(tmp_path: Path, stream: Stream) -> None:
    informative = write_store(tmp_path / "informative", clips=100, pixels=24, duration_s=0.25)
    removed = error_removed(informative, tmp_path / "run", stream)
    shuffled = write_store(tmp_path / "shuffled", clips=100, pixels=24, duration_s=0.25, shuffled=True)
    control = error_removed(shuffled, tmp_path / "control", stream)
    print(f"{stream}: removes {removed:.2f} of the floor's error, {control:.2f} with shuffled scores")
    assert removed > 0.3
    assert control < 0.1
