"""Fit the text regression of an audio-text network on the training clips, and its weight on the validation clips."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file

from crnet.data.clip_rows import light_rows
from crnet.data.dataset import ClipDataset, read_texts, stack_scores
from crnet.data.splits import split_group
from crnet.errors import FormatError
from crnet.models.crnet import StreamNet
from crnet.models.text_regression import RidgeFit, fit_ridge
from crnet.training.distributed import DistributedContext
from crnet.training.meters import require_labels
from crnet.types import TARGETS, Batch
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
        fit = fit_ridge(texts, scores, [split_group(row) for row in light_rows(train.rows)])
        logger.info("text regression: penalty %.3g, cross-validated R2 %.3f", fit.penalty, fit.r2)
        write_arrays(path, {name: np.asarray(value) for name, value in asdict(fit).items()})
    context.barrier()
    net.text_regression.load_fit(_read_fit(path), [row.clip_id for row in light_rows(train.rows)])


@torch.no_grad()
def fit_text_weights(
    net: StreamNet, batches: Iterable[Batch], context: DistributedContext, autocast: AbstractContextManager[None]
) -> None:
    """Fit the weights that combine sound and text in the scores, if the network has both and regresses text.

    Args:
        net: The network. It is left in evaluation mode.
        batches: This process's validation batches, which did not train the network.
        context: The training processes. All of them end with the same weights.
        autocast: A context with the precision of the forward pass.
    """
    if net.text_regression is None or net.backbone is None:
        return
    net.eval()
    empty = torch.zeros(0, len(TARGETS), device=context.device)
    parts = [(empty, empty, empty)]  # for a process that has no clip of a small split
    with autocast:
        for cpu_batch in batches:
            batch = cpu_batch.to(context.device)
            output, deviations = net.parts(batch)
            parts.append((output.scores, deviations, require_labels(batch)[0]))
    columns = [context.gather(torch.cat(column)).double().cpu().numpy() for column in zip(*parts, strict=True)]
    if all(np.isfinite(column).all() for column in columns):  # else training diverged, which the loop reports
        net.text_regression.fit_weights(*columns)


def _read_fit(path: Path) -> RidgeFit:
    remedy = "delete the folder to train this stream again"
    try:
        arrays = load_file(path)
        penalty, r2 = arrays["penalty"].item(), arrays["r2"].item()
        return RidgeFit(arrays["weight"], arrays["mean"], arrays["score_mean"], arrays["held_out"], penalty, r2)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"not a text regression: {error}", path=path, remedy=remedy) from error
