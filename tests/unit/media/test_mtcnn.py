"""The face detector: its weights, its geometry, and real faces."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import torch

from crnet.errors import FormatError, MissingDependencyError
from crnet.media import mtcnn
from crnet.media.boxes import pixel_squares, square_boxes
from crnet.media.crops import crop_resize
from crnet.media.mtcnn import Mtcnn, read_weights, weights_folder


@pytest.fixture(scope="module")
def detector() -> Mtcnn:
    return Mtcnn()


def photo(path: Path, step: int) -> np.ndarray:
    """Read a photo, reduced by averaging blocks of `step` x `step` pixels."""
    image = simplejpeg.decode_jpeg(path.read_bytes(), "RGB")
    h, w = (side // step for side in image.shape[:2])
    blocks = image[: h * step, : w * step].reshape(h, step, w, step, 3)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)


class TestWeights:
    def test_the_package_is_read_but_not_imported(self) -> None:
        assert len(read_weights(weights_folder(), "pnet")) == 13
        assert "mtcnn" not in sys.modules and "tensorflow" not in sys.modules

    def test_a_changed_file_is_refused_before_it_is_unpacked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import joblib

        def unpack(*_: object) -> None:
            raise AssertionError("a foreign file was unpacked")

        monkeypatch.setattr(joblib, "load", unpack)
        content = bytearray((weights_folder() / "rnet.lz4").read_bytes())
        content[1000] ^= 1
        (tmp_path / "rnet.lz4").write_bytes(content)
        with pytest.raises(FormatError, match="not the weights"):
            read_weights(tmp_path, "rnet")

    def test_a_missing_file_names_the_package_to_install(self, tmp_path: Path) -> None:
        shutil.copy(weights_folder() / "pnet.lz4", tmp_path)
        with pytest.raises(MissingDependencyError) as caught:
            read_weights(tmp_path, "onet")
        assert caught.value.remedy == 'pip install "crnet[media]"'

    def test_a_missing_package_names_the_package_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
        with pytest.raises(MissingDependencyError) as caught:
            Mtcnn()
        assert caught.value.remedy == 'pip install "crnet[media]"'

    def test_keras_layout(self) -> None:
        """A convolution and a dense layer in NumPy, channels last, give the output of the loaded network."""
        rng = np.random.default_rng(0)
        kernel, bias, slope = rng.normal(size=(2, 3, 3, 4)), rng.normal(size=4), rng.uniform(size=(1, 1, 4))
        dense, dense_bias = rng.normal(size=(24, 5)), rng.normal(size=5)
        trunk = [torch.nn.Conv2d(3, 4, (2, 3)), torch.nn.PReLU(4), mtcnn._FlattenByColumns()]
        network = mtcnn._Network(trunk, [torch.nn.Linear(24, 5)])
        mtcnn._load(network, [a.astype(np.float32) for a in (kernel, bias, slope, dense, dense_bias)])
        image = rng.normal(size=(4, 4, 3)).astype(np.float32)
        windows = np.array([[image[i : i + 2, j : j + 3] for j in range(2)] for i in range(3)])  # [3, 2, 2, 3, 3]
        convolved = np.einsum("ijhwc,hwco->ijo", windows, kernel) + bias
        activated = np.where(convolved > 0, convolved, convolved * slope)
        expected = activated.transpose(1, 0, 2).reshape(-1) @ dense + dense_bias  # columns first
        (output,) = network(torch.from_numpy(image).permute(2, 0, 1)[None])
        np.testing.assert_allclose(output[0].numpy(), expected, rtol=1e-4, atol=1e-4)

    def test_the_networks_have_the_published_shapes(self, detector: Mtcnn) -> None:
        with torch.inference_mode():
            assert [tuple(o.shape) for o in detector.pnet(torch.zeros(2, 3, 12, 14))] == [(2, 4, 1, 2), (2, 2, 1, 2)]
            assert [tuple(o.shape) for o in detector.rnet(torch.zeros(2, 3, 24, 24))] == [(2, 4), (2, 2)]
            assert [tuple(o.shape) for o in detector.onet(torch.zeros(2, 3, 48, 48))] == [(2, 4), (2, 10), (2, 2)]


class TestPatches:
    def test_patches_sample_the_image_and_are_grey_outside(self) -> None:
        ramp = torch.arange(20.0).repeat(10, 1)[None].repeat(3, 1, 1)  # the value of pixel (i, j) is j
        patches = mtcnn._patches(ramp, np.array([[4, 2, 8, 6], [-8, 0, -4, 4]], np.float32), 4)
        assert patches.shape == (2, 3, 4, 4)
        torch.testing.assert_close(patches[0, 0, 0], torch.tensor([4.0, 5, 6, 7]))
        assert not patches[1].any()  # grey outside the image


class TestDetect:
    @pytest.mark.parametrize(("name", "step", "faces"), [("photo_one_face", 4, 1), ("photo_five_faces", 3, 5)])
    def test_all_faces_of_photos_are_detected(
        self, detector: Mtcnn, media_dir: Path, name: str, step: int, faces: int
    ) -> None:
        image = photo(media_dir / f"{name}.jpg", step)
        (detections,) = detector.detect(image[None], 20)
        assert len(detections) == faces and detections.scores.min() > 0.95
        assert np.all(np.diff(detections.scores) <= 0)
        for box, points in zip(detections.boxes, detections.landmarks, strict=True):
            assert np.all(points > box[:2]) and np.all(points < box[2:])
            left_eye, right_eye, nose, left_mouth, right_mouth = points
            assert left_eye[0] < nose[0] < right_eye[0] and left_mouth[0] < right_mouth[0]
            assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])

    def test_a_batch_gives_the_detections_of_its_images(self, detector: Mtcnn, media_dir: Path) -> None:
        image = photo(media_dir / "photo_five_faces.jpg", 3)
        images = np.stack([image, np.zeros_like(image), image[:, ::-1]])
        batch = detector.detect(images, 24)
        assert [len(detections) for detections in batch] == [5, 0, 5]
        for i in (0, 2):
            (alone,) = detector.detect(images[i : i + 1], 24)
            np.testing.assert_allclose(batch[i].boxes, alone.boxes, atol=0.01)
        mirrored = image.shape[1] - batch[2].boxes[:, [2, 1, 0, 3]]
        for box in batch[0].boxes[:, [0, 2]]:
            assert np.abs(mirrored[:, [0, 2]] - box).max(axis=1).min() < 8

    def test_judge_confirms_a_detected_face(self, detector: Mtcnn, media_dir: Path) -> None:
        image = photo(media_dir / "photo_one_face.jpg", 4)
        (detections,) = detector.detect(image[None], 20)
        x0, y0, x1, y1 = np.rint(square_boxes(detections.boxes)[0]).astype(int)
        face = torch.from_numpy(image[y0:y1, x0:x1].copy()).permute(2, 0, 1)[None]
        patch = torch.nn.functional.interpolate(face, (48, 48), mode="bilinear", antialias=True)
        judged = detector.judge(patch.permute(0, 2, 3, 1).numpy(), np.array([[x0, y0, x1, y1]], np.float32))
        assert judged.scores[0] > 0.95
        np.testing.assert_allclose(judged.landmarks[0], detections.landmarks[0], atol=0.06 * (x1 - x0))
        assert detector.judge(np.full((1, 48, 48, 3), 90, np.uint8), np.zeros((1, 4), np.float32)).scores[0] < 0.5

    def test_following_converges_to_one_box_from_any_start(self, detector: Mtcnn, media_dir: Path) -> None:
        image = photo(media_dir / "photo_one_face.jpg", 4)
        start = detector.detect(image[None], 20)[0].boxes[0]
        ends = []
        for grow, right, down in [
            (0, 0, 0),
            (0.08, 0, 0),
            (-0.08, 0, 0),
            (0, 0.05, 0),
            (0, -0.05, 0.05),
            (0, 0, -0.05),
        ]:
            side = start[2:] - start[:2]
            centre = (start[:2] + start[2:]) / 2 + side * (right, down)
            box = np.concatenate([centre - side / 2 * (1 + grow), centre + side / 2 * (1 + grow)]).astype(np.float32)
            for _ in range(2):
                square = pixel_squares(box[None])
                box = detector.follow(crop_resize(image, square[0], 48)[None], square).boxes[0]
            ends.append(box)
        assert np.abs(np.array(ends) - ends[0]).max() <= 0.03 * side.max()

    @pytest.mark.parametrize("shape", [(1, 1), (5, 400), (11, 11), (12, 12), (40, 60)])
    def test_tiny_or_plain_pictures_have_no_faces(self, detector: Mtcnn, shape: tuple[int, int]) -> None:
        assert [len(detections) for detections in detector.detect(np.full((2, *shape, 3), 77, np.uint8), 12)] == [0, 0]

    def test_noise_gives_few_detections(self, detector: Mtcnn) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (1, 200, 300, 3), dtype=np.uint8)
        assert len(detector.detect(noise, 12)[0]) < 5
