"""The MTCNN face detector in PyTorch: the reference for the one in OpenVINO and NumPy.

Coordinates are continuous: pixel (i, j) covers [j, j + 1] x [i, i + 1].
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor, nn

from crnet.media.boxes import nms, square_boxes
from crnet.media.mtcnn import Detections
from crnet.media.mtcnn_networks import read_weights, weights_folder

PNET_CELL, PNET_STRIDE = 12, 2  # P-Net judges 12x12 windows, two pixels apart
RNET_PIXELS, ONET_PIXELS = 24, 48
PYRAMID_FACTOR = 0.709  # each level has half the area of the last
PNET_THRESHOLD, RNET_THRESHOLD, ONET_THRESHOLD = 0.6, 0.7, 0.7
NMS_WITHIN_LEVEL, NMS_BETWEEN_LEVELS, NMS_AFTER_REFINING = 0.5, 0.5, 0.7


def nms_per_image(
    image: Int64[np.ndarray, " n"],
    boxes: Float32[np.ndarray, "n 4"],
    scores: Float32[np.ndarray, " n"],
    threshold: float,
) -> Int64[np.ndarray, " m"]:
    """Apply `nms` within each image; the indices are in order of the images."""
    groups = [np.flatnonzero(image == i) for i in np.unique(image)]
    keep = [group[nms(boxes[group], scores[group], threshold)] for group in groups]
    return np.concatenate(keep) if keep else np.zeros(0, np.int64)


class _FlattenByColumns(nn.Module):
    """[B, C, H, W] -> [B, W * H * C], the order in which the first dense layers were trained."""

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B n"]:
        return x.permute(0, 3, 2, 1).flatten(1)


class _Network(nn.Module):
    """A trunk and its heads, with parameters in the order of the weight files."""

    def __init__(self, trunk: list[nn.Module], heads: list[nn.Module]) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*trunk)
        self.heads = nn.ModuleList(heads)

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        x = self.trunk(x)
        return [head(x) for head in self.heads]


def _conv(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel), nn.PReLU(outputs)]


def _pool(kernel: int, *, pad_end: bool) -> nn.Module:
    return nn.MaxPool2d(kernel, stride=2, ceil_mode=pad_end)


def _pnet() -> _Network:
    """Build P-Net: window [12, 12] -> box offsets [4], face or not [2]; fully convolutional."""
    trunk = [*_conv(3, 10, 3), _pool(2, pad_end=True), *_conv(10, 16, 3), *_conv(16, 32, 3)]
    return _Network(trunk, [nn.Conv2d(32, 4, 1), nn.Conv2d(32, 2, 1)])


def _rnet() -> _Network:
    """Build R-Net: patch [24, 24] -> box offsets [4], face or not [2]."""
    trunk = [*_conv(3, 28, 3), _pool(3, pad_end=True), *_conv(28, 48, 3), _pool(3, pad_end=False), *_conv(48, 64, 2)]
    trunk += [_FlattenByColumns(), nn.Linear(576, 128), nn.PReLU(128)]
    return _Network(trunk, [nn.Linear(128, 4), nn.Linear(128, 2)])


def _onet() -> _Network:
    """Build O-Net: patch [48, 48] -> box offsets [4], landmarks [10] (five x, then five y), face or not [2]."""
    trunk = [*_conv(3, 32, 3), _pool(3, pad_end=True), *_conv(32, 64, 3), _pool(3, pad_end=False)]
    trunk += [*_conv(64, 64, 3), _pool(2, pad_end=True), *_conv(64, 128, 2)]
    trunk += [_FlattenByColumns(), nn.Linear(1152, 256), nn.PReLU(256)]
    return _Network(trunk, [nn.Linear(256, 4), nn.Linear(256, 10), nn.Linear(256, 2)])


def _load(network: _Network, arrays: list[np.ndarray]) -> _Network:
    """Copy Keras arrays into a network: kernels HWIO -> OIHW, dense IO -> OI, PReLU (1, 1, C) -> (C,)."""
    for parameter, array in zip(network.parameters(), arrays, strict=True):
        squeezed = array.reshape(-1) if array.ndim == 3 else array
        axes = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}[squeezed.ndim]
        parameter.data.copy_(torch.from_numpy(squeezed.transpose(axes).copy()))
    return network.eval().requires_grad_(False)


class TorchMtcnn:
    """The three networks with their weights, on one device.

    Raises:
        MissingDependencyError: The package with the weights is not installed.
        FormatError: Its weights are not those of mtcnn 1.0.0.
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        folder = weights_folder()
        self.device = torch.device(device)
        self.pnet, self.rnet, self.onet = (
            _load(network, read_weights(folder, name)).to(self.device)
            for name, network in (("pnet", _pnet()), ("rnet", _rnet()), ("onet", _onet()))
        )

    @torch.inference_mode()
    def detect(self, images: UInt8[np.ndarray, "B H W 3"], min_face_pixels: float) -> list[Detections]:
        """Detect all faces of each image.

        Args:
            images: RGB images of one size.
            min_face_pixels: Side of the smallest face to detect; the cost grows with 1 / side squared.
        """
        pixels = self._channels_first(images)
        batch = _normalised(pixels)
        image_of_box, boxes = self._propose(pixels, min_face_pixels)
        image_of_box, boxes = self._refine(batch, image_of_box, boxes)
        results = []
        for i in range(len(images)):
            image_boxes = boxes[image_of_box == i]
            results.append(_confident(self._judge(_patches(batch[i], image_boxes, ONET_PIXELS), image_boxes)))
        return results

    @torch.inference_mode()
    def judge(self, patches: UInt8[np.ndarray, "n 48 48 3"], boxes: Float32[np.ndarray, "n 4"]) -> Detections:
        """Run O-Net alone: return its confidence, landmarks and corrected box of each patch, in the given order.

        Args:
            patches: The content of the squared boxes, RGB.
            boxes: Where the patches were cropped.
        """
        return self._judge(_normalised(self._channels_first(patches)), boxes)

    def follow(self, patches: UInt8[np.ndarray, "n 48 48 3"], boxes: Float32[np.ndarray, "n 4"]) -> Detections:
        """Follow faces that were at `boxes` a moment ago: return those that O-Net alone still detects.

        Args:
            patches: The content of the squared boxes now, RGB.
            boxes: Where the patches were cropped.
        """
        return _confident(self.judge(patches, boxes))

    def _channels_first(self, images: UInt8[np.ndarray, "B H W 3"]) -> UInt8[Tensor, "B 3 H W"]:
        # A view: the channels stay last in memory, which makes pooling much faster.
        return torch.from_numpy(np.ascontiguousarray(images)).to(self.device).permute(0, 3, 1, 2)

    def _propose(
        self, pixels: UInt8[Tensor, "B 3 H W"], min_face_pixels: float
    ) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, "n 4"]]:
        """Run P-Net over an image pyramid: return the image and the squared box of each proposal."""
        images, boxes, scores = [np.zeros(0, np.int64)], [np.zeros((0, 4), np.float32)], [np.zeros(0, np.float32)]
        height, width = pixels.shape[2:]
        scale = PNET_CELL / min_face_pixels
        while min(height, width) * scale >= PNET_CELL:
            size = (round(height * scale), round(width * scale))
            # Resizing bytes takes a quarter of the time of resizing floats.
            level = functional.interpolate(pixels, size, mode="bilinear", antialias=True)
            image, box, score = self._windows(_normalised(level), (width / size[1], height / size[0]))
            keep = nms_per_image(image, box, score, NMS_WITHIN_LEVEL)
            images.append(image[keep])
            boxes.append(box[keep])
            scores.append(score[keep])
            scale *= PYRAMID_FACTOR
        image, box, score = np.concatenate(images), np.concatenate(boxes), np.concatenate(scores)
        keep = nms_per_image(image, box, score, NMS_BETWEEN_LEVELS)
        return image[keep], square_boxes(box[keep])

    def _windows(
        self, level: Float32[Tensor, "B 3 h w"], pixels_per_cell: tuple[float, float]
    ) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, "n 4"], Float32[np.ndarray, " n"]]:
        """Return image, box and confidence of the windows of one pyramid level in which P-Net detects a face.

        Boxes are in pixels of the whole image.
        """
        offsets, logits = self.pnet(level)
        face = logits.softmax(1)[:, 1]  # [B, h', w']
        image, row, column = torch.nonzero(face > PNET_THRESHOLD, as_tuple=True)
        corner = torch.stack([column, row, column, row], 1) * float(PNET_STRIDE)
        corner[:, 2:] += PNET_CELL
        box = corner + offsets[image, :, row, column] * PNET_CELL  # [n, 4]
        scale = np.array(pixels_per_cell * 2, dtype=np.float32)
        return image.cpu().numpy(), box.cpu().numpy() * scale, face[image, row, column].cpu().numpy()

    def _refine(
        self, batch: Float32[Tensor, "B 3 H W"], image: Int64[np.ndarray, " n"], boxes: Float32[np.ndarray, "n 4"]
    ) -> tuple[Int64[np.ndarray, " m"], Float32[np.ndarray, "m 4"]]:
        """Run R-Net: return fewer and better boxes, squared, and the image of each."""
        if not len(boxes):
            return image, boxes
        patches = [_patches(batch[i], boxes[image == i], RNET_PIXELS) for i in np.unique(image)]
        offsets, logits = self.rnet(torch.cat(patches))
        score = logits.softmax(1)[:, 1].cpu().numpy()
        boxes = _corrected(boxes, offsets.cpu().numpy())
        confident = np.flatnonzero(score > RNET_THRESHOLD)
        keep = confident[nms_per_image(image[confident], boxes[confident], score[confident], NMS_AFTER_REFINING)]
        return image[keep], square_boxes(boxes[keep])

    def _judge(self, patches: Float32[Tensor, "n 3 48 48"], boxes: Float32[np.ndarray, "n 4"]) -> Detections:
        if not len(boxes):
            return Detections(boxes, np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))
        offsets, points, logits = self.onet(patches)
        side = boxes[:, 2:] - boxes[:, :2]  # [n, 2]
        relative = points.cpu().numpy().reshape(-1, 2, 5).transpose(0, 2, 1)  # [n, 5, 2]
        landmarks = boxes[:, None, :2] + relative * side[:, None]
        return Detections(_corrected(boxes, offsets.cpu().numpy()), logits.softmax(1)[:, 1].cpu().numpy(), landmarks)


def _confident(detections: Detections) -> Detections:
    """Return the faces above O-Net's threshold, each once, in order of falling confidence."""
    confident = np.flatnonzero(detections.scores > ONET_THRESHOLD)
    boxes, scores = detections.boxes[confident], detections.scores[confident]
    keep = confident[nms(boxes, scores, NMS_AFTER_REFINING, over_smaller=True)]
    return Detections(detections.boxes[keep], detections.scores[keep], detections.landmarks[keep])


def _normalised(pixels: UInt8[Tensor, "B 3 H W"]) -> Float32[Tensor, "B 3 H W"]:
    return (pixels.float() - 127.5) / 128


def _corrected(boxes: Float32[np.ndarray, "n 4"], offsets: Float32[np.ndarray, "n 4"]) -> Float32[np.ndarray, "n 4"]:
    side = boxes[:, 2:] - boxes[:, :2]
    return boxes + offsets * np.concatenate([side, side], axis=1)


def _patches(
    image: Float32[Tensor, "3 H W"], boxes: Float32[np.ndarray, "n 4"], size: int
) -> Float32[Tensor, "n 3 s s"]:
    """Crop the boxes at `size` pixels by bilinear sampling, with mid-grey outside the image."""
    height, width = image.shape[1:]
    corners = torch.from_numpy(boxes).to(image.device)
    step = (torch.arange(size, device=image.device) + 0.5) / size
    x = (corners[:, :1] + step * (corners[:, 2:3] - corners[:, :1])) * 2 / width - 1  # [n, size], from -1 to 1
    y = (corners[:, 1:2] + step * (corners[:, 3:] - corners[:, 1:2])) * 2 / height - 1
    grid = torch.stack([x[:, None].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], dim=-1)
    patches = functional.grid_sample(image[None].expand(len(boxes), -1, -1, -1), grid, align_corners=False)
    return patches.contiguous(memory_format=torch.channels_last)
