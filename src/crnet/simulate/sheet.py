"""One picture of what the simulator makes: 24 people, and every cue at its low, middle and high end."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from crnet.errors import StorageError
from crnet.simulate.canvas import Pixels
from crnet.simulate.cues import CUE, CUES, Cue, middle_values
from crnet.simulate.drawing import Presenter
from crnet.simulate.motion import Motion, move
from crnet.simulate.people import SKIN_TONES, draw_look
from crnet.simulate.performance import act, draw_frames
from crnet.simulate.planning import SimulationConfig, plan_clips
from crnet.simulate.sheet_tiles import CURVE_OF, curve_tile, voice_tile, words_tile
from crnet.utils.files import write_bytes

TILE = (320, 180)  # width, height in pixels
DRAWN = 2  # tiles are drawn this much larger and reduced
COLUMNS = 6
PEOPLE = 24
STILL_CUES = (
    "smile", "eye_opening", "brow", "gaze", "room_brightness", "room_warmth",
    "tidiness", "closeness", "dress_saturation", "posture", "gesture",
)  # fmt: skip
EXPLANATION = (
    "every cue: low, middle, high. Motion: a curve over 8 s (lids, or how the features turn). "
    "Voice: a spectrogram of one sentence, 0 to 4 kHz. Words: what is said."
)
GAP = 4
PAPER = (250, 247, 242)
INK = (60, 54, 50)
CAPTION_PX = 22


def draw_sheet(path: Path, seed: int = 0) -> Path:
    """Write the sheet as a PNG.

    Args:
        path: Where to.
        seed: Decides who is shown.

    Raises:
        StorageError: The file cannot be written.
    """
    rows = [_caption(f"{PEOPLE} people", COLUMNS), *_grid(_people(seed), COLUMNS)]
    triples = [_labelled(name, seed) for name in STILL_CUES]
    triples += [_without_still(cue) for cue in CUES if cue.name not in STILL_CUES]
    rows.append(_caption(EXPLANATION, COLUMNS))
    pairs = [
        np.hstack(triples[i : i + 2]) if len(triples[i : i + 2]) == 2 else triples[i] for i in range(0, len(triples), 2)
    ]
    width = max(row.shape[1] for row in (*rows, *pairs))
    sheet = np.vstack([_widened(row, width) for row in (*rows, *pairs)])
    done, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if not done:
        raise StorageError("the sheet cannot be encoded", path=path)
    write_bytes(path, data.tobytes())
    return path


def _people(seed: int) -> list[Pixels]:
    """One frame of each of the first people of a data set."""
    config = SimulationConfig(clips=6 * PEOPLE, seed=seed, seconds=1.0, fps=4, height=TILE[1] * DRAWN, voice="built-in")
    seen: dict[int, Pixels] = {}
    for plan in plan_clips(config):
        if plan.person not in seen and len(seen) < PEOPLE:
            seen[plan.person] = _reduced(list(draw_frames(act(plan, config), config))[2])
    return list(seen.values())


def _labelled(name: str, seed: int) -> Pixels:
    """A cue at its low, middle and high end, all else in the middle."""
    rng = np.random.default_rng([seed, STILL_CUES.index(name)])
    look = draw_look(rng, skin_tone=STILL_CUES.index(name) % len(SKIN_TONES))
    cue = CUE[name]
    tiles = []
    for value in (cue.low, cue.middle(), cue.high):
        cues = {**middle_values(), "gesture": 0.0, "tidiness": 0.8, "room_brightness": 0.85, "gaze": 1.0, name: value}
        if name == "gaze" and value == cue.low:
            cues["gaze"] = 0.0
        presenter = Presenter(look, cues, TILE[0] * DRAWN, TILE[1] * DRAWN)
        tiles.append(_reduced(presenter.frame(_still(cues), 0)))
    return _triple(cue, tiles)


def _without_still(cue: Cue) -> Pixels:
    """A cue that no still shows, at its low, middle and high end, all else in the middle."""
    tiles = []
    for value in (cue.low, cue.middle(), cue.high):
        cues = {**middle_values(), cue.name: value}
        if cue.name in CURVE_OF:
            tiles.append(curve_tile(cue.name, cues, TILE))
        else:
            tiles.append(voice_tile(cues, TILE) if cue.modality == "audio" else words_tile(cues, TILE))
    return _triple(cue, tiles)


def _triple(cue: Cue, tiles: list[Pixels]) -> Pixels:
    """Three tiles under the cue's name and range."""
    caption = _caption(f"{cue.name}: {cue.low:g} to {cue.high:g} ({cue.unit})", 3)
    return np.vstack([caption, np.hstack([_framed(tile) for tile in tiles])])


def _still(cues: dict[str, float]) -> Motion:
    """A moment without a blink or a nod."""
    quiet = {**cues, "blink_rate": 0.0, "nod_rate": 0.0, "head_motion": 0.0}
    return move(np.zeros(1), quiet, np.zeros(2), np.random.default_rng(0))


def _reduced(picture: Pixels) -> Pixels:
    return np.asarray(cv2.resize(picture, TILE, interpolation=cv2.INTER_AREA))


def _framed(tile: Pixels) -> Pixels:
    return np.asarray(cv2.copyMakeBorder(tile, GAP, GAP, GAP, GAP, cv2.BORDER_CONSTANT, value=PAPER))


def _grid(tiles: list[Pixels], columns: int) -> list[Pixels]:
    framed = [_framed(tile) for tile in tiles]
    return [np.hstack(framed[i : i + columns]) for i in range(0, len(framed), columns)]


def _caption(text: str, tiles: int) -> Pixels:
    strip = np.full((CAPTION_PX + GAP, tiles * (TILE[0] + 2 * GAP), 3), PAPER, np.uint8)
    cv2.putText(strip, text, (GAP, CAPTION_PX - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
    return strip


def _widened(row: NDArray[np.uint8], width: int) -> Pixels:
    return np.asarray(cv2.copyMakeBorder(row, 0, 0, 0, width - row.shape[1], cv2.BORDER_CONSTANT, value=PAPER))
