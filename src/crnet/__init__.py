"""CR-Net: apparent personality from short videos of a person talking to a camera.

    system = crnet.load("runs/paper")
    prediction = system.predict("video.mp4")

Importing this package imports no large library; `load` does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from crnet.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from crnet.predict import Predictor
    from crnet.utils.device import Device, Precision

__all__ = ["__version__", "load"]


def load(
    run: Path | str,
    device: Device = "auto",
    *,
    encoder: str | None = None,
    asr: str | None = None,
    precision: Precision = "auto",
    revision: str | None = None,
) -> Predictor:
    """Load a trained system.

    Args:
        run: Run folder of `crnet train` or `crnet demo`, or the bundle inside it; or a model on the Hugging Face Hub,
            `org/name`, which is fetched into the local cache and later loaded from there without a connection.
        device: Where the networks run: auto (a GPU if there is one and PyTorch is installed), cpu, cuda or mps.
        encoder: Text encoder of the system, such as `skip-thoughts:FOLDER`, if it has moved since training.
        asr: Speech recognition for videos without a transcript: name or folder of a faster-whisper model.
        precision: float32 (auto), or bfloat16 if speed matters more than the last digits: where the processor or GPU
            has instructions for it, it takes less time. It moves scores by up to 0.003 (for a system trained
            on 480 clips or more), and scores then differ between machines.
        revision: Commit, tag or branch of a model on the Hub. A commit always means the same files.

    Returns:
        A predictor: `predict(path)` scores one video, `predict_many(paths)` several.

    Raises:
        FormatError: The system is missing or damaged; the message names the file.
        UsageError: A revision of a folder.
        ConfigError: The device is not available or slow in this precision, or the text encoder has other weights than
            in training.
        MissingDependencyError: The text encoder or the speech recognition needs a package that is not installed.
    """
    from crnet.bundle.hub import locate_system
    from crnet.bundle.verify import BundleFiles

    folder, name = locate_system(run, revision)
    files = BundleFiles(folder)  # hashes the files while libraries are being imported
    from crnet.bundle.load import open_bundle
    from crnet.bundle.runtime import open_networks
    from crnet.predict import Predictor

    recogniser = None
    if asr is not None:
        from crnet.text.asr import FasterWhisper

        recogniser = FasterWhisper(asr)
    bundle = open_bundle(folder, files)
    if name is not None and bundle.model is not None:
        bundle = replace(bundle, model=bundle.model._replace(name=name))
    return Predictor(bundle, open_networks(bundle, device, precision), encoder, recogniser)
