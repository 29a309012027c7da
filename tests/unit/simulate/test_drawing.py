"""The rendered frame: cues are visible where they should be, and every look has a face."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from crnet.simulate.canvas import Canvas, composite, ellipse, mirror, spline
from crnet.simulate.cues import CUE_BY_NAME, middle_values
from crnet.simulate.drawing import EYE_LINE, PersonRenderer
from crnet.simulate.motion import BLINK_S, Motion, sample_motion
from crnet.simulate.people import SKIN_TONES, Clothes, HairStyle, Look, sample_look

WIDTH, HEIGHT = 320, 180


def make_look(seed: int = 0, tone: int | None = None) -> Look:
    return replace(sample_look(np.random.default_rng(seed), skin_tone=tone), hair_style="crop", glasses=0, beard=0.0)


def still(**cues: float) -> Motion:
    quiet = {**middle_values(), **cues, "blink_rate": 0.0, "nod_rate": 0.0, "head_motion": 0.0, "gaze": 1.0}
    return sample_motion(np.zeros(1), quiet, np.zeros(2), np.random.default_rng(0))


def picture(look: Look | None = None, motion: Motion | None = None, **cues: float) -> np.ndarray:
    cues = {**middle_values(), "gesture": 0.0, **cues}
    return PersonRenderer(look or make_look(), cues, WIDTH, HEIGHT).render(motion or still(**cues), 0)


@pytest.mark.parametrize("tone", range(len(SKIN_TONES)))
def test_a_face_with_the_skin_tone_is_in_the_middle(tone: int) -> None:
    look = replace(make_look(tone, tone), camera_x=0.0)
    drawn = picture(look, room_brightness=1.0, room_warmth=0.0).astype(float)
    head_px = CUE_BY_NAME["closeness"].middle() * HEIGHT
    cheek = drawn[
        round(EYE_LINE * HEIGHT + 0.17 * head_px + 0.06 * head_px), WIDTH // 2 + round(0.17 * head_px * look.light_side)
    ]
    assert np.abs(cheek - look.skin).max() < 60
    eyes = drawn[round(EYE_LINE * HEIGHT) - 4 : round(EYE_LINE * HEIGHT) + 4, WIDTH // 2 - 30 : WIDTH // 2 + 30].mean(
        -1
    )
    assert eyes.max() - eyes.min() > 100  # whites and pupils


@pytest.mark.parametrize("style", get_args(HairStyle))
@pytest.mark.parametrize("clothes", [get_args(Clothes)[0], get_args(Clothes)[-1]])
def test_every_hair_style_is_drawn(style: HairStyle, clothes: Clothes) -> None:
    look = replace(make_look(), hair_style=style, clothes=clothes, beard=1.0, glasses=2, freckles=True)
    assert picture(look).shape == (HEIGHT, WIDTH, 3)


def test_room_brightness_and_warmth_are_visible() -> None:
    corner = [picture(room_brightness=level)[:20, :60].mean() for level in (0.4, 0.7, 1.0)]
    assert corner == sorted(corner)
    assert corner[2] > 1.6 * corner[0]
    cold, warm = (picture(room_warmth=level)[:20, :60].reshape(-1, 3).mean(0) for level in (-1.0, 1.0))
    assert warm[0] / warm[2] > 1.3 * cold[0] / cold[2]


def test_tidiness_is_visible() -> None:
    def edges(level: float) -> float:
        grey = picture(tidiness=level).astype(float).mean(-1)
        return float(np.abs(np.diff(grey, axis=1)).mean())

    full, half, bare = (edges(level) for level in (0.0, 0.5, 1.0))
    assert full > half > bare
    assert full > 1.2 * bare


def test_closeness_is_visible() -> None:
    look = replace(make_look(tone=0), camera_x=0.0)
    skin = [
        (np.abs(picture(look, closeness=c)[60:120].astype(int) - look.skin).max(-1) < 40).sum()
        for c in (0.34, 0.45, 0.56)
    ]
    assert skin == sorted(skin)
    assert skin[2] > 1.3 * skin[0]


def test_dress_saturation_is_visible() -> None:
    def saturation(level: float) -> float:
        cloth = picture(dress_saturation=level, room_warmth=0.0)[-12:, WIDTH // 2 - 40 : WIDTH // 2 - 25].astype(float)
        return float((cloth.max(-1) - cloth.min(-1)).mean())

    saturations = [saturation(level) for level in (0.05, 0.5, 0.95)]
    assert saturations == sorted(saturations)
    assert saturations[2] > saturations[0] + 40


def mouth(**cues: float) -> np.ndarray:
    look = replace(make_look(tone=1), camera_x=0.0)
    head_px = CUE_BY_NAME["closeness"].middle() * HEIGHT
    y = round(EYE_LINE * HEIGHT + 0.38 * head_px)
    half = round(0.2 * head_px)
    return picture(look, posture=1.0, room_brightness=1.0, **cues)[
        y - half : y + half // 2, WIDTH // 2 - half : WIDTH // 2 + half
    ].astype(float)


def test_smile_eyes_and_brows_change_the_face() -> None:
    assert np.abs(mouth(smile=1.0) - mouth(smile=-0.45)).max() > 80
    shut, wide = (picture(eye_opening=level).astype(float) for level in (0.42, 1.35))
    assert np.abs(shut - wide).max() > 80
    knit, raised = (picture(brow=level).astype(float) for level in (-1.0, 1.0))
    assert np.abs(knit - raised).max() > 60


def test_hands_rise_with_the_gesture_cue() -> None:
    look = replace(make_look(tone=2), camera_x=0.0)
    tops = []
    for level in (0.4, 0.7, 1.0):
        without, raised = picture(look), picture(look, still(gesture=level), gesture=level)
        changed = np.flatnonzero((np.abs(raised.astype(int) - without) > 30).any((1, 2)))
        tops.append(int(changed.min()))
    assert tops == sorted(tops, reverse=True)
    assert tops[0] - tops[-1] > 15


def test_the_mouth_follows_the_voice_and_its_loudness() -> None:
    time_s = np.arange(20) / 10
    envelope = np.zeros(400)
    envelope[200:] = 1.0
    quiet, loud = (
        sample_motion(time_s, {**middle_values(), "loudness": level}, envelope, np.random.default_rng(0)).mouth
        for level in (-36.0, -16.0)
    )
    assert quiet[:9].max() < 0.05 < quiet[12:].min()
    assert loud[12:].min() > quiet[12:].max()


def test_blinks_and_nods_have_their_rates() -> None:
    time_s = np.arange(3000) / 100
    cues = {**middle_values(), "blink_rate": 0.5, "nod_rate": 0.0}
    motion = sample_motion(time_s, cues, np.zeros(10), np.random.default_rng(0))
    starts = np.sum((motion.lid[1:] < 0.5) & (motion.lid[:-1] >= 0.5))
    assert starts == pytest.approx(15, abs=2)
    assert np.mean(motion.lid < 0.5) < 0.5 * BLINK_S
    nodding = sample_motion(
        time_s, {**cues, "nod_rate": 0.8, "head_motion": 0.0}, np.zeros(10), np.random.default_rng(0)
    )
    assert nodding.turn_y.max() > 0.02 > motion.turn_y.max()


@pytest.mark.parametrize("share", [0.15, 0.5, 1.0])
def test_gaze_is_at_the_camera_for_its_share_of_the_time(share: float) -> None:
    motion = sample_motion(
        np.arange(3000) / 50, {**middle_values(), "gaze": share}, np.zeros(10), np.random.default_rng(1)
    )
    assert np.mean(np.abs(motion.gaze_x) < 0.4) == pytest.approx(share, abs=0.12)


def test_canvas_equals_hand_calculation() -> None:
    canvas = Canvas(20, 10, 10.0, (0.0, 0.0))
    canvas.fill(np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]), (200.0, 100.0, 50.0))
    canvas.fill(ellipse(1.0, 0.5, 0.4, 0.4), (0.0, 0.0, 0.0), inside=True)
    pixels = canvas.pixels()
    assert pixels[5, 3].tolist() == [200, 100, 50, 255]
    assert pixels[5, 8].tolist() == [0, 0, 0, 255]
    assert pixels[5, 13].tolist() == [0, 0, 0, 0]  # painted only inside the first shape
    canvas.tint((0.5, 1.0, 2.0))
    assert canvas.pixels()[5, 3].tolist() == [100, 100, 100, 255]


def test_layers_are_clipped_at_the_edge() -> None:
    ground = np.zeros((4, 4, 3), np.uint8)
    layer = np.full((3, 3, 4), 255, np.uint8)
    for x, y in ((-2, -2), (3, 3), (9, 9), (-9, 0)):
        composite(ground, layer, x, y)
    assert ground[..., 0].tolist() == [[255, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 255]]


def test_outlines_are_symmetric_and_pass_through_their_points() -> None:
    curve = spline(mirror([(0.0, -1.0), (1.0, 0.0), (0.0, 1.0)]))
    assert curve.shape == (32, 2)
    np.testing.assert_allclose(curve[8], (1.0, 0.0))
    np.testing.assert_allclose(sorted(curve[:, 0]), sorted(-curve[:, 0]), atol=1e-12)
