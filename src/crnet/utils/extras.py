"""Which extra of this package brings a module that is not installed."""

from __future__ import annotations

EXTRA_OF_MODULE = {
    "av": "media",
    "soxr": "media",
    "mtcnn": "media",
    "joblib": "media",
    "lz4": "media",
    "matplotlib": "report",
    "jinja2": "report",
    "cv2": "simulate",
    "espeakng_loader": "simulate",
    "tensorboard": "tensorboard",
    "gradio": "serve",
    "faster_whisper": "asr",
    "sentence_transformers": "sentence",
    "stream_unzip": "release",
}
"""Modules of optional dependencies and the first extra that installs them; see `pyproject.toml`."""


def install_command(module: str) -> str:
    """Return the command that installs a missing module, such as `pip install "crnet[media]"`."""
    package = module.partition(".")[0]
    extra = EXTRA_OF_MODULE.get(package)
    return f'pip install "crnet[{extra}]"' if extra else f"pip install {package.replace('_', '-')}"
