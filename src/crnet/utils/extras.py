"""Extras of this package that install optional modules."""

from __future__ import annotations

from collections.abc import Collection

MODULE_EXTRAS = {
    "torch": "train",
    "sklearn": "train",
    "nncf": "export",
    "matplotlib": "report",
    "jinja2": "report",
    "scipy": "report",
    "fairlearn": "audit",
    "cv2": "simulate",
    "espeakng_loader": "simulate",
    "tensorboard": "tensorboard",
    "fastapi": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "prometheus_client": "serve",
    "faster_whisper": "asr",
    "sentence_transformers": "sentence",
    "tokenizers": "sentence-openvino",
    "stream_unzip": "release",
    "ray": "ray",
    "s3fs": "s3",
    "gcsfs": "gcs",
    "submitit": "slurm",
    "huggingface_hub": "hub",
}
"""Modules of optional dependencies and the first extra that installs them; see `pyproject.toml`."""


def install_command(module: str, with_extras: Collection[str] = ()) -> str:
    """Return the command that installs a missing module, such as `pip install "crnet[train]"`.

    Args:
        module: The module.
        with_extras: Extras that are needed too, so that nobody installs one after the other.
    """
    package = module.partition(".")[0]
    extra = MODULE_EXTRAS.get(package)
    if extra is None:
        return f"pip install {package.replace('_', '-')}"
    return f'pip install "crnet[{",".join(sorted({extra, *with_extras}))}]"'
