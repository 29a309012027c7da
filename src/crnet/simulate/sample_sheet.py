"""Draw a sample sheet: 24 synthetic people, and every cue at its low, middle and high end."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from crnet.errors import StorageError
from crnet.simulate.canvas import Pixels
from crnet.simulate.cues import CUE_BY_NAME, CUES, Cue, middle_values
from crnet.simulate.drawing import PersonRenderer
from crnet.simulate.motion import Motion, sample_motion
from crnet.simulate.people import SKIN_TONES, sample_look
from crnet.simulate.performance import perform, render_frames
from crnet.simulate.planning import SimulationConfig, plan_clips
from crnet.simulate.sample_tiles import MOTION_CURVES, curve_tile, voice_tile, words_tile
from crnet.utils.files import write_bytes

TILE = (320, 180)  # width, height in pixels
OVERSAMPLING = 2  # tiles are drawn this many times larger and then reduced
COLUMNS = 6
PEOPLE = 24
STILL_CUES = (
    "smile", "eye_opening", "brow", "gaze", "room_brightness", "room_warmth",
    "tidiness", "closeness", "dress_saturation", "posture", "gesture",
)  # fmt: skip
EXPLANATION = (
    "Every cue: low, middle, high. Motion: a curve over 8 s (lids, or how far the features turn). "
    "Voice: a spectrogram of one sentence, 0 to 4 kHz. Words: the transcript."
)
GAP = 4
PAPER = (250, 247, 242)
INK = (60, 54, 50)
CAPTION_PX = 22


def draw_sheet(path: str | Path, seed: int = 0) -> Path:
    """Write the sheet as a PNG file and return its path.

    Args:
        path: The file.
        seed: Random seed of the people.

    Raises:
        StorageError: The file cannot be written.
    """
    path = Path(path)
    rows = [_caption(f"{PEOPLE} people", COLUMNS), *_grid(_sample_people(seed), COLUMNS)]
    triples = [_still_triple(name, seed) for name in STILL_CUES]
    triples += [_plot_triple(cue) for cue in CUES if cue.name not in STILL_CUES]
    rows.append(_caption(EXPLANATION, COLUMNS))
    pairs = [
        np.hstack(triples[i : i + 2]) if len(triples[i : i + 2]) == 2 else triples[i] for i in range(0, len(triples), 2)
    ]
    width = max(row.shape[1] for row in (*rows, *pairs))
    sheet = np.vstack([_pad(row, width) for row in (*rows, *pairs)])
    is_encoded, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if not is_encoded:
        raise StorageError("the sheet cannot be encoded as PNG", path=path)
    write_bytes(path, data.tobytes())
    return path


def _sample_people(seed: int) -> list[Pixels]:
    """Draw one frame of each of the first people of a dataset."""
    config = SimulationConfig(
        clips=6 * PEOPLE,
        seed=seed,
        seconds=1.0,
        fps=4,
        height=TILE[1] * OVERSAMPLING,
        difficulty="easy",
        voice="built-in",
    )
    frames: dict[int, Pixels] = {}
    for plan in plan_clips(config):
        if plan.person not in frames and len(frames) < PEOPLE:
            frames[plan.person] = _reduce(list(render_frames(perform(plan, config), config))[2])
    return list(frames.values())


def _still_triple(name: str, seed: int) -> Pixels:
    """Draw a still of a cue at its low, middle and high end, with all other cues in the middle."""
    rng = np.random.default_rng([seed, STILL_CUES.index(name)])
    look = sample_look(rng, skin_tone=STILL_CUES.index(name) % len(SKIN_TONES))
    cue = CUE_BY_NAME[name]
    tiles = []
    for value in (cue.low, cue.middle(), cue.high):
        cues = {**middle_values(), "gesture": 0.0, "tidiness": 0.8, "room_brightness": 0.85, "gaze": 1.0, name: value}
        if name == "gaze" and value == cue.low:
            cues["gaze"] = 0.0
        renderer = PersonRenderer(look, cues, TILE[0] * OVERSAMPLING, TILE[1] * OVERSAMPLING)
        tiles.append(_reduce(renderer.render(_motionless(cues), 0)))
    return _captioned(cue, tiles)


def _plot_triple(cue: Cue) -> Pixels:
    """Plot a cue that no still shows at its low, middle and high end, with all other cues in the middle."""
    tiles = []
    for value in (cue.low, cue.middle(), cue.high):
        cues = {**middle_values(), cue.name: value}
        if cue.name in MOTION_CURVES:
            tiles.append(curve_tile(cue.name, cues, TILE))
        else:
            tiles.append(voice_tile(cues, TILE) if cue.modality == "audio" else words_tile(cues, TILE))
    return _captioned(cue, tiles)


def _captioned(cue: Cue, tiles: list[Pixels]) -> Pixels:
    """Return three tiles under the cue's name and range."""
    caption = _caption(f"{cue.name}: {cue.low:g} to {cue.high:g} ({cue.unit})", 3)
    return np.vstack([caption, np.hstack([_add_border(tile) for tile in tiles])])


def _motionless(cues: dict[str, float]) -> Motion:
    """Return the motion at a moment without a blink or a nod."""
    quiet = {**cues, "blink_rate": 0.0, "nod_rate": 0.0, "head_motion": 0.0}
    return sample_motion(np.zeros(1), quiet, np.zeros(2), np.random.default_rng(0))


def _reduce(picture: Pixels) -> Pixels:
    return np.asarray(cv2.resize(picture, TILE, interpolation=cv2.INTER_AREA))


def _add_border(tile: Pixels) -> Pixels:
    return np.asarray(cv2.copyMakeBorder(tile, GAP, GAP, GAP, GAP, cv2.BORDER_CONSTANT, value=PAPER))


def _grid(tiles: list[Pixels], columns: int) -> list[Pixels]:
    bordered = [_add_border(tile) for tile in tiles]
    return [np.hstack(bordered[i : i + columns]) for i in range(0, len(bordered), columns)]


def _caption(text: str, tiles: int) -> Pixels:
    strip = np.full((CAPTION_PX + GAP, tiles * (TILE[0] + 2 * GAP), 3), PAPER, np.uint8)
    cv2.putText(strip, text, (GAP, CAPTION_PX - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
    return strip


def _pad(row: NDArray[np.uint8], width: int) -> Pixels:
    return np.asarray(cv2.copyMakeBorder(row, 0, 0, 0, width - row.shape[1], cv2.BORDER_CONSTANT, value=PAPER))
