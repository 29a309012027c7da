"""Facts about a trained system for the page of a video: what it is, and how good it was on its test clips."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crnet.bundle.bundle import Bundle
from crnet.config import Config
from crnet.evaluation.evaluation import EVALUATION_FOLDER, FUSION, METRICS_FILE
from crnet.metrics import AVERAGE
from crnet.text.encoder_interface import encoder_label
from crnet.types import DATA_SOURCES, SAMPLE_RATE_HZ, Stream
from crnet.utils.files import read_json
from crnet.utils.number_format import decimal, percent

STREAM_INPUTS: dict[Stream, str] = {
    "scene": "the whole picture",
    "face": "the face",
    "audio-text": "voice and words",
}


def model_facts(bundle: Bundle) -> list[tuple[str, str]]:
    """Return name and value of each fact."""
    facts = [
        ("trained on", DATA_SOURCES[bundle.training_source].long),
        *config_facts(bundle.config, bundle.encoder),
        ("fusion", bundle.fusion.summary),
    ]
    if bundle.calibration is not None:
        facts.append(("intervals", f"split conformal, from {bundle.calibration.clips} clips not used in training"))
    return [
        *facts,
        ("intended use", "research on first impressions, and on what such models learn"),
        ("out of scope", "decisions about people: hiring, admission, diagnosis, dating, moderation"),
        *_test_figures(bundle),
    ]


def config_facts(config: Config, encoder: str) -> list[tuple[str, str]]:
    """Return name and value of each fact that the configuration and the name of the text encoder tell."""
    frames, pixels = config.transforms.frames, config.transforms.pixels
    audio_s = (config.transforms.audio_samples or 0) / SAMPLE_RATE_HZ
    return [
        ("streams", ", ".join(f"{stream} ({STREAM_INPUTS[stream]})" for stream in config.streams)),
        ("visual input", f"{frames} frames of {pixels} x {pixels} pixels"),
        ("audio input", f"{audio_s:.1f} s of sound at 16 kHz"),
        ("text encoder", encoder_label(encoder)),
        ("networks", f"{config.model.backbone}, width {config.model.width}, {config.model.classes} classes per target"),
    ]


def _test_figures(bundle: Bundle) -> list[tuple[str, str]]:
    """Return the figures of the run's own test, if it was evaluated."""
    if bundle.path is None:
        return []
    path = bundle.path.parent / EVALUATION_FOLDER / "test" / METRICS_FILE
    if not path.is_file():
        return []
    document = read_json(path, "the figures of an evaluation")
    average: Mapping[str, Any] = document.get("systems", {}).get(FUSION, {}).get(AVERAGE, {})
    if not all(isinstance(average.get(name), float) for name in ("accuracy", "floor_accuracy", "error_removed")):
        return []
    return [
        (
            "test result",
            f"1 - MAE {decimal(average['accuracy'], digits=3)} on {document.get('clips')} clips, against "
            f"{decimal(average['floor_accuracy'], digits=3)} for predicting one number for everyone: "
            f"{percent(average['error_removed'], 0)} of that error removed",
        )
    ]
