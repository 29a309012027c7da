"""Networks and losses of CR-Net, each usable on its own.

The six-target system and its parts::

    from crnet.models import CRBlock, bell_loss

    block = CRBlock(width=512, classes=4, targets=6)
    features, logits, scores = block(a)  # a: [B, 512]
    loss = bell_loss(scores, labels)  # scores in [0, 1]

Nothing imported here reads media or files of clips, except `load_backbone`, which reads pretrained weights. To run
trained networks on the clips of a store, import `crnet.models.inference`.
"""

from crnet.models.cr_block import EDGES, CRBlock, class_indices
from crnet.models.crnet import ModelConfig, StreamNet, StreamOutput
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
