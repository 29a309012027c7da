"""Networks and losses of CR-Net, each usable on its own.

The six-target system and its parts::

    from crnet.models import CRBlock, bell_loss

    block = CRBlock(width=512, classes=4, targets=6)
    features, logits, scores = block(a)  # a: [B, 512]
    loss = bell_loss(scores, labels)  # scores in [0, 1]

Importing this package imports no PyTorch, because prediction reads the shape of a network here; using a name does.
Nothing imported here reads media or files of clips, except `load_backbone`, which reads pretrained weights. To run
trained networks on the clips of a store, import `crnet.models.inference`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crnet.models.classes import EDGES, class_indices
    from crnet.models.config import ModelConfig
    from crnet.models.cr_block import CRBlock
    from crnet.models.crnet import StreamNet, StreamOutput
    from crnet.models.heads import ExpectationHead, PlainHead
    from crnet.models.losses import (
        LossTerms,
        bell_loss,
        classification_loss,
        l1_loss,
        lambda_at,
        loss_terms,
        mse_loss,
        share_outside_bell,
    )
    from crnet.models.resnet import ResNet, load_backbone
    from crnet.models.score_head import ScoreHead

__all__ = [
    "EDGES",
    "CRBlock",
    "ExpectationHead",
    "LossTerms",
    "ModelConfig",
    "PlainHead",
    "ResNet",
    "ScoreHead",
    "StreamNet",
    "StreamOutput",
    "bell_loss",
    "class_indices",
    "classification_loss",
    "l1_loss",
    "lambda_at",
    "load_backbone",
    "loss_terms",
    "mse_loss",
    "share_outside_bell",
]

_HOMES = {
    "EDGES": "crnet.models.classes",
    "CRBlock": "crnet.models.cr_block",
    "ExpectationHead": "crnet.models.heads",
    "LossTerms": "crnet.models.losses",
    "ModelConfig": "crnet.models.config",
    "PlainHead": "crnet.models.heads",
    "ResNet": "crnet.models.resnet",
    "ScoreHead": "crnet.models.score_head",
    "StreamNet": "crnet.models.crnet",
    "StreamOutput": "crnet.models.crnet",
    "bell_loss": "crnet.models.losses",
    "class_indices": "crnet.models.classes",
    "classification_loss": "crnet.models.losses",
    "l1_loss": "crnet.models.losses",
    "lambda_at": "crnet.models.losses",
    "load_backbone": "crnet.models.resnet",
    "loss_terms": "crnet.models.losses",
    "mse_loss": "crnet.models.losses",
    "share_outside_bell": "crnet.models.losses",
}
"""The module of each name."""


def __getattr__(name: str) -> Any:
    """Import a name of `__all__` when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
