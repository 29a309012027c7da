"""Fit the text regression of an audio-text network on the training clips, once for each training."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from crnet.data.dataset import ClipDataset, read_texts, stack_scores
from crnet.data.splits import split_group
from crnet.errors import FormatError
from crnet.models.crnet import StreamNet
from crnet.models.text_regression import RidgeFit, fit_ridge
from crnet.training.distributed import DistributedContext
from crnet.utils.files import write_arrays

logger = logging.getLogger(__name__)

FIT_NAME = "text_regression.safetensors"


def prepare_text_regression(net: StreamNet, train: ClipDataset, folder: Path, context: DistributedContext) -> None:
    """Fit the text regression of a network that has one, or read the fit from the folder of the stream.

    A resumed training thus has the numbers that it began with.

    Raises:
        FormatError: The file is damaged, or a clip is.
        LabelError: There are fewer than two training clips.
        StorageError: The file cannot be written.
    """
    if net.text_regression is None:
        return
    path = folder / FIT_NAME
    if context.is_main and not path.is_file():
        texts, scores = read_texts(train.store, train.rows), stack_scores(train.rows)
        fit = fit_ridge(texts, scores, [split_group(row) for row in train.rows])
        logger.info("text regression: penalty %.3g, cross-validated R2 %.3f", fit.penalty, fit.r2)
        write_arrays(path, {name: np.asarray(value) for name, value in asdict(fit).items()})
    context.barrier()
    net.text_regression.load_fit(_read_fit(path), [row.clip_id for row in train.rows])


def _read_fit(path: Path) -> RidgeFit:
    remedy = "delete the folder to train this stream again"
    try:
        arrays = load_file(path)
        penalty, r2 = arrays["penalty"].item(), arrays["r2"].item()
        return RidgeFit(arrays["weight"], arrays["mean"], arrays["held_out"], penalty, r2)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"not a text regression: {error}", path=path, remedy=remedy) from error
