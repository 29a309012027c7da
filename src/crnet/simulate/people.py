"""Looks of synthetic people: face, hair, clothes, room, light and voice. A look carries no information about scores.

Gender and ethnicity are those that an annotator would perceive, and decide the appearance alone. Their shares are those
of First Impressions v2 (Escalante et al. 2018, "Explaining First Impressions").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

Rgb = tuple[int, int, int]
T = TypeVar("T")
Gender = Literal["male", "female"]
Ethnicity = Literal["Asian", "Caucasian", "African-American"]

GENDER_SHARE: dict[Gender, float] = {"male": 0.45, "female": 0.55}
ETHNICITY_SHARE: dict[Ethnicity, float] = {"Asian": 0.03, "Caucasian": 0.86, "African-American": 0.11}

SKIN_TONES: tuple[Rgb, ...] = (
    (250, 219, 198), (243, 205, 178), (233, 188, 156), (219, 168, 132),
    (198, 144, 106), (170, 116, 82), (142, 94, 66), (114, 74, 53),
)  # fmt: skip
"""Skin tones from light to dark."""
TONES_BY_ETHNICITY: dict[Ethnicity, tuple[int, ...]] = {
    "Asian": (1, 2, 3, 4),
    "Caucasian": (0, 0, 1, 1, 2, 3),
    "African-American": (4, 5, 6, 7),
}

HAIR_COLOURS: tuple[Rgb, ...] = (
    (38, 30, 30), (62, 42, 34), (96, 62, 42), (134, 88, 52), (186, 140, 82),
    (222, 186, 122), (152, 70, 40), (150, 146, 144),
)  # fmt: skip
"""Black, dark brown, brown, light brown, dark blond, blond, red, grey."""
HAIR_BY_ETHNICITY: dict[Ethnicity, tuple[int, ...]] = {
    "Asian": (0, 0, 1),
    "Caucasian": (1, 2, 2, 3, 3, 4, 5, 6, 7),
    "African-American": (0, 0, 0, 1),
}
HairStyle = Literal["short", "side", "crop", "curly", "bob", "long", "wavy", "bun", "afro", "bald"]
STYLES_BY_GENDER: dict[Gender, tuple[HairStyle, ...]] = {
    "male": ("short", "side", "side", "crop", "short", "curly", "bald"),
    "female": ("bob", "long", "wavy", "bun", "long", "wavy", "curly", "short"),
}
AFRO_STYLES: dict[Gender, tuple[HairStyle, ...]] = {
    "male": ("crop", "crop", "bald", "afro"),
    "female": ("afro", "curly", "bun", "wavy"),
}

IRIS_COLOURS: tuple[Rgb, ...] = (
    (66, 42, 28),
    (88, 58, 34),
    (96, 88, 46),
    (70, 104, 84),
    (74, 110, 146),
    (104, 120, 134),
)
IRIS_BY_ETHNICITY: dict[Ethnicity, tuple[int, ...]] = {
    "Asian": (0, 1),
    "Caucasian": (1, 2, 3, 4, 4, 5),
    "African-American": (0, 0, 1),
}

VOICES = 4  # timbres per gender

Clothes = Literal["t-shirt", "v-neck", "shirt", "hoodie", "blazer"]
CLOTHES: tuple[Clothes, ...] = ("t-shirt", "v-neck", "shirt", "hoodie", "blazer")


@dataclass(frozen=True)
class Look:
    """Appearance of one person in their room. Lengths are in head heights unless stated otherwise.

    Attributes:
        gender, ethnicity: Perceived gender and ethnicity; they decide the appearance only.
        skin_tone: Index into `SKIN_TONES`.
        skin, hair, iris, lip: Colours, RGB.
        hair_style: One of `HairStyle`.
        beard: 0 = none, 0.5 = stubble, 1 = full beard.
        face_width, jaw_width, chin_width: Half widths of the face at eyes, jaw and chin.
        eye_size, eye_distance: Width of an eye; distance from the middle of the face to the middle of an eye.
        eye_tilt: Rise of the outer corner of an eye.
        brow_weight: Thickness of the brows.
        nose_width, nose_length: Half width of the nose; distance of its end below the eyes.
        mouth_width: Half width of the mouth at rest.
        glasses: 0 = none, 1 = round, 2 = square.
        freckles: Whether the person has freckles.
        clothes: One of `Clothes`.
        dress_hue: Hue of the clothes, in [0, 1).
        dress_value: Brightness of the clothes, in [0, 1].
        wall_hue, sofa_hue: Hues of wall and sofa, in [0, 1).
        room_seed: Random seed of the furniture.
        light_side: -1 = light from the left of the frame, 1 = from the right.
        light_contrast: Darkness of the shadow side of the face, in [0, 1].
        camera_x: Position of the person, frame widths from the middle.
        pitch_hz: Resting pitch of the voice.
        vocal_tract: Length of the vocal tract relative to a man's; divides the formants.
        voice: Number of the synthesiser's timbre for the gender.
    """

    gender: Gender
    ethnicity: Ethnicity
    skin_tone: int
    skin: Rgb
    hair: Rgb
    iris: Rgb
    lip: Rgb
    hair_style: HairStyle
    beard: float
    face_width: float
    jaw_width: float
    chin_width: float
    eye_size: float
    eye_distance: float
    eye_tilt: float
    brow_weight: float
    nose_width: float
    nose_length: float
    mouth_width: float
    glasses: int
    freckles: bool
    clothes: Clothes
    dress_hue: float
    dress_value: float
    wall_hue: float
    sofa_hue: float
    room_seed: int
    light_side: float
    light_contrast: float
    camera_x: float
    pitch_hz: float
    vocal_tract: float
    voice: int


def sample_look(rng: np.random.Generator, *, skin_tone: int | None = None) -> Look:
    """Sample a person.

    Args:
        rng: Source of randomness; the same state gives the same person.
        skin_tone: Index into `SKIN_TONES` to impose; None samples it with the ethnicity.
    """
    gender: Gender = "male" if rng.random() < GENDER_SHARE["male"] else "female"
    ethnicity = _pick(rng, *_ethnicities(skin_tone))
    tone = _pick(rng, TONES_BY_ETHNICITY[ethnicity]) if skin_tone is None else skin_tone
    skin = _vary(SKIN_TONES[tone], rng, 0.025)
    is_man = gender == "male"
    styles = AFRO_STYLES if ethnicity == "African-American" else STYLES_BY_GENDER
    hair_style = _pick(rng, styles[gender])
    beard = float(rng.choice([0.0, 0.5, 1.0], p=[0.55, 0.25, 0.2])) if is_man else 0.0
    lip_redness = rng.uniform(0.15, 0.35) if is_man else rng.uniform(0.35, 0.75)
    # The order of these calls decides the random numbers, and so every person of every seed.
    return Look(
        gender=gender,
        ethnicity=ethnicity,
        skin_tone=tone,
        skin=skin,
        hair=_vary(HAIR_COLOURS[_pick(rng, HAIR_BY_ETHNICITY[ethnicity])], rng, 0.06),
        iris=_vary(IRIS_COLOURS[_pick(rng, IRIS_BY_ETHNICITY[ethnicity])], rng, 0.05),
        lip=_mix((int(skin[0] * 0.80), int(skin[1] * 0.62), int(skin[2] * 0.60)), (186, 58, 66), lip_redness),
        hair_style=hair_style,
        beard=beard,
        **_sample_face(rng, is_man),
        glasses=int(rng.choice([0, 1, 2], p=[0.82, 0.09, 0.09])),
        freckles=bool(tone <= 1 and rng.random() < 0.2),
        clothes=_pick(rng, CLOTHES),
        dress_hue=float(rng.random()),
        dress_value=rng.uniform(0.45, 0.85),
        **_sample_room(rng),
        **_sample_voice(rng, is_man),
    )


def _sample_face(rng: np.random.Generator, is_man: bool) -> dict[str, Any]:
    """Sample the fields of `Look` from `face_width` to `mouth_width`."""
    return {
        "face_width": rng.uniform(0.335, 0.365) + (0.006 if is_man else 0.0),
        "jaw_width": rng.uniform(0.255, 0.285) + (0.018 if is_man else 0.0),
        "chin_width": rng.uniform(0.085, 0.115) + (0.025 if is_man else 0.0),
        "eye_size": rng.uniform(0.158, 0.172) + (0.0 if is_man else 0.008),
        "eye_distance": rng.uniform(0.150, 0.162),
        "eye_tilt": rng.uniform(-0.002, 0.010),
        "brow_weight": rng.uniform(0.026, 0.034) if is_man else rng.uniform(0.017, 0.024),
        "nose_width": rng.uniform(0.062, 0.078) + (0.006 if is_man else 0.0),
        "nose_length": rng.uniform(0.185, 0.210),
        "mouth_width": rng.uniform(0.112, 0.130),
    }


def _sample_room(rng: np.random.Generator) -> dict[str, Any]:
    """Sample the fields of `Look` from `wall_hue` to `camera_x`."""
    return {
        "wall_hue": float(rng.random()),
        "sofa_hue": float(rng.random()),
        "room_seed": int(rng.integers(1 << 31)),
        "light_side": float(rng.choice([-1.0, 1.0])),
        "light_contrast": rng.uniform(0.3, 1.0),
        "camera_x": rng.uniform(-0.05, 0.05),
    }


def _sample_voice(rng: np.random.Generator, is_man: bool) -> dict[str, Any]:
    """Sample the fields of `Look` from `pitch_hz` to `voice`."""
    return {
        "pitch_hz": rng.uniform(104.0, 120.0) if is_man else rng.uniform(188.0, 212.0),
        "vocal_tract": rng.uniform(0.97, 1.04) if is_man else rng.uniform(0.83, 0.90),
        "voice": int(rng.integers(VOICES)),
    }


def _ethnicities(skin_tone: int | None) -> tuple[tuple[Ethnicity, ...], tuple[float, ...]]:
    """Return the ethnicities that have a skin tone, and their shares; None allows all."""
    share = {e: s for e, s in ETHNICITY_SHARE.items() if skin_tone is None or skin_tone in TONES_BY_ETHNICITY[e]}
    return tuple(share), tuple(s / sum(share.values()) for s in share.values())


def _pick(rng: np.random.Generator, options: tuple[T, ...], shares: tuple[float, ...] | None = None) -> T:
    return options[int(rng.choice(len(options), p=shares))]


def _vary(colour: Rgb, rng: np.random.Generator, amount: float) -> Rgb:
    """Return a slightly lighter or darker colour, with an even smaller change of hue."""
    factor = 1.0 + rng.normal(0.0, amount)
    red, green, blue = (
        int(np.clip(channel * factor * (1.0 + rng.normal(0.0, amount / 4)), 8, 250)) for channel in colour
    )
    return red, green, blue


def _mix(first: Rgb, second: Rgb, share: float) -> Rgb:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue
