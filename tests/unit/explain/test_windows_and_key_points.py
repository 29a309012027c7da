"""Windows of long videos, and the key-point ratio of Sec. 5.6."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crnet.bundle.bundle import Bundle
from crnet.data.manifest import read_manifest
from crnet.data.store import read_clip, write_clip
from crnet.errors import LabelError, UsageError
from crnet.explain.frame_maps import face_squares
from crnet.explain.key_points import centred_disc, count_inside, crop_points, highlighted, key_point_ratio
from crnet.explain.windows import cut, is_long, score_windows, summarise, window_length_s
from crnet.explain.words import align
from crnet.predict import Predictor
from crnet.text.subtitles import Cue
from crnet.types import SAMPLE_RATE_HZ, TARGETS
from synthetic import make_clip, write_store


@settings(deadline=None)
@given(st.integers(0, 28), st.integers(1, 32))
def test_a_window_is_a_part_of_the_clip(start: int, count: int) -> None:
    whole = make_clip("a", pixels=8, frames_per_segment=2, duration_s=1.0)
    count = min(count, 32 - start)
    part = cut(whole, start, count)
    assert part.segments == count
    assert part.duration_s == pytest.approx(count / 32)
    assert len(part.audio) == pytest.approx(count / 32 * SAMPLE_RATE_HZ, abs=1)
    assert [part.jpeg("face", i) for i in range(len(part.time_s))] == [
        whole.jpeg("face", i) for i in range(2 * start, 2 * (start + count))
    ]
    np.testing.assert_allclose(part.time_s + start / 32, whole.time_s[2 * start : 2 * (start + count)])


def test_windows_cover_the_video_in_order(predictor: Predictor, video: Path) -> None:
    assert window_length_s(predictor) == 1.0  # the training clips' length
    assert is_long(predictor, 3.0) and not is_long(predictor, 1.2)
    words = align("", (Cue(0.1, 0.4, "first"), Cue(2.6, 2.9, "last")), np.zeros(0, np.int16), 3.0)
    windows = score_windows(predictor, video, 3.0, words)
    assert [round(w.start_s, 3) for w in windows] == [0, 0.5, 1, 1.5, 2]
    assert windows[-1].end_s == pytest.approx(3.0, abs=0.11)
    assert (windows[0].text, windows[-1].text) == ("first", "last")
    assert all(window.faces.found == 0 and window.faces.looked_at == 4 for window in windows)
    assert all(tuple(window.scores) == TARGETS for window in windows)
    assert len({tuple(window.scores.values()) for window in windows}) > 1
    summary = summarise(windows)["openness"]
    values = [window.scores["openness"] for window in windows]
    assert (summary["low"], summary["high"]) == (min(values), max(values))
    assert summary["mean"] == pytest.approx(sum(values) / 5)


def test_the_window_and_the_stride_can_be_chosen(predictor: Predictor, video: Path) -> None:
    windows = score_windows(predictor, video, 3.0, (), window_s=1.5, stride_s=1.5)
    assert [(round(w.start_s, 2), round(w.end_s, 2)) for w in windows] == [(0, 1.5), (1.5, 3.0)]


def test_three_tenths_of_any_map_are_highlighted() -> None:
    for heat in (np.zeros((20, 20)), np.arange(400.0).reshape(20, 20), np.random.default_rng(0).random((20, 20))):
        assert highlighted(heat.astype(np.float32)).sum() == 120
    top = highlighted(np.arange(400, dtype=np.float32).reshape(20, 20))
    assert top[14:].all() and not top[:14].any()
    disc = centred_disc(20)
    assert disc.sum() == 120 and disc[10, 10] and not disc[0].any()
    assert (disc == disc.T).mean() > 0.95


def test_points_are_counted_on_the_pixel_that_contains_them() -> None:
    mask = np.zeros((4, 4), bool)
    mask[1, 2] = True
    points = np.array([[2.0, 1.0], [2.99, 1.99], [1.0, 2.0], [3.0, 1.0], [-1.0, 1.0], [9.0, 9.0]], np.float32)
    assert count_inside(mask, points) == 2


def test_the_six_points_are_located_in_the_crop() -> None:
    clip = make_clip("a", pixels=40)
    landmarks = np.array([[15, 15], [25, 15], [20, 20], [16, 26], [24, 28]], np.float32)
    clip = replace(
        clip,
        face_box=np.tile(np.array([10, 10, 30, 30], np.float32), (len(clip.time_s), 1)),
        face_landmarks=np.tile(landmarks, (len(clip.time_s), 1, 1)),
    )
    frames = np.array([0, 5])
    assert face_squares(clip, frames, 0.5)[0].tolist() == [0, 0, 40, 40]  # half a side more on each side
    points = crop_points(clip, frames, 0.5)
    assert points.shape == (2, 6, 2)
    assert points[0, 0].tolist() == [15 / 40, 15 / 40]
    assert points[1, 5].tolist() == pytest.approx([20 / 40, 27 / 40])  # between the corners of the mouth
    boxes = clip.face_box.copy()
    boxes[5] = np.nan
    without_face = replace(clip, face_box=boxes)
    assert np.isnan(crop_points(without_face, frames, 0.5)[1]).all()
    assert face_squares(without_face, frames, 0.5)[1].tolist() == [0, 0, 40, 40]  # the central square stands in


def test_the_ratio_over_a_split(bundle: Bundle, store: Path) -> None:
    ratio = key_point_ratio(bundle, store)
    assert (ratio.clips, ratio.frames, ratio.points) == (4, 16, 96)
    assert 0 <= ratio.ratio <= 1
    assert ratio.centred_disc == 1.0  # all points of the synthetic clips lie in the middle
    assert ratio.chance == 0.3
    assert ratio.layer == "layer1"
    assert key_point_ratio(bundle, store, layer="layer3").layer == "layer3"


def test_a_ratio_without_faces_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    faceless = replace(bundle, networks={"scene": bundle.networks["scene"]})
    store = write_store(tmp_path, clips=5, pixels=32, frames_per_segment=1)
    with pytest.raises(UsageError, match="face stream"):
        key_point_ratio(faceless, store)
    row = read_manifest(store).rows("test")[0]
    clip = read_clip(store / row.file)
    write_clip(store / row.file, replace(clip, face_box=np.full_like(clip.face_box, np.nan)))
    with pytest.raises(LabelError, match="no face"):
        key_point_ratio(bundle, store)
