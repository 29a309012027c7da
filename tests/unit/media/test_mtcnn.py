"""The face detector: its weights, its geometry, and real faces."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any

import lz4.frame
import numpy as np
import pytest
import simplejpeg

from crnet.errors import FormatError, MissingDependencyError
from crnet.media import mtcnn, mtcnn_networks
from crnet.media.boxes import pixel_squares, square_boxes
from crnet.media.crops import crop_resize
from crnet.media.mtcnn import Detections, Mtcnn
from crnet.media.mtcnn_networks import GraphBuilder, Network, read_weights, weights_folder
from crnet.utils.openvino_runtime import openvino, ops
from crnet.utils.resize import resize
from torch_mtcnn import TorchMtcnn


@pytest.fixture(scope="module")
def detector() -> Mtcnn:
    return Mtcnn()


@pytest.fixture(scope="module")
def reference() -> TorchMtcnn:
    return TorchMtcnn()


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

    @pytest.mark.parametrize("name", ["pnet", "rnet", "onet"])
    def test_the_arrays_are_those_that_joblib_reads(self, name: str) -> None:
        import joblib

        arrays, expected = read_weights(weights_folder(), name), joblib.load(weights_folder() / f"{name}.lz4")
        assert [array.dtype for array in arrays] == [array.dtype for array in expected]
        for array, same in zip(arrays, expected, strict=True):
            np.testing.assert_array_equal(array, same)

    def test_a_changed_file_is_refused_before_it_is_unpacked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unpack(*_: object) -> None:
            raise AssertionError("a foreign file was unpacked")

        monkeypatch.setattr(lz4.frame, "decompress", unpack)
        content = bytearray((weights_folder() / "rnet.lz4").read_bytes())
        content[1000] ^= 1
        (tmp_path / "rnet.lz4").write_bytes(content)
        with pytest.raises(FormatError, match="not the weights"):
            read_weights(tmp_path, "rnet")

    def test_a_missing_file_names_the_package_to_install(self, tmp_path: Path) -> None:
        shutil.copy(weights_folder() / "pnet.lz4", tmp_path)
        with pytest.raises(MissingDependencyError) as caught:
            read_weights(tmp_path, "onet")
        assert caught.value.remedy == "pip install mtcnn"

    def test_a_missing_package_names_the_package_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
        with pytest.raises(MissingDependencyError) as caught:
            Mtcnn()
        assert caught.value.remedy == "pip install mtcnn"

    def test_keras_layout(self) -> None:
        """A convolution and a dense layer in NumPy, channels last, give the output of the graph."""
        rng = np.random.default_rng(0)
        kernel, bias, slope = rng.normal(size=(2, 3, 3, 4)), rng.normal(size=4), rng.uniform(size=(1, 1, 4))
        dense, dense_bias = rng.normal(size=(24, 5)), rng.normal(size=5)

        def build(size: int, weights: list[np.ndarray]) -> Any:
            builder, image = GraphBuilder(weights), ops.parameter([size, 4, 4, 3], np.float32)
            x = mtcnn_networks._flatten_by_columns(builder.convolution(mtcnn_networks._channels_first(image)))
            return openvino.Model([builder.dense(x)], [image], "")

        weights = [a.astype(np.float32) for a in (kernel, bias, slope, dense, dense_bias)]
        network = Network(build, weights, (1,))
        image = rng.normal(size=(4, 4, 3)).astype(np.float32)
        windows = np.array([[image[i : i + 2, j : j + 3] for j in range(2)] for i in range(3)])  # [3, 2, 2, 3, 3]
        convolved = np.einsum("ijhwc,hwco->ijo", windows, kernel) + bias
        activated = np.where(convolved > 0, convolved, convolved * slope)
        expected = activated.transpose(1, 0, 2).reshape(-1) @ dense + dense_bias  # columns first
        (output,) = network(image[None])
        np.testing.assert_allclose(output[0], expected, rtol=1e-4, atol=1e-4)

    def test_the_networks_have_the_published_shapes(self, detector: Mtcnn) -> None:
        pnet, rnet, onet = detector._networks
        assert [o.shape for o in pnet(np.zeros((1, 12, 14, 3), np.uint8))] == [(1, 4, 1, 2), (1, 2, 1, 2)]
        assert [o.shape for o in rnet(np.zeros((3, 24, 24, 3), np.float32))] == [(3, 4), (3, 2)]
        assert [o.shape for o in onet(np.zeros((3, 48, 48, 3), np.float32))] == [(3, 4), (3, 10), (3, 2)]

    def test_a_face_gets_the_same_numbers_in_every_batch(self, detector: Mtcnn) -> None:
        """11 faces are a batch of 8, one of 2, and one that is filled up."""
        rng = np.random.default_rng(0)
        for network, side in ((detector._networks.onet, 48), (detector._networks.rnet, 24)):
            faces = rng.normal(size=(11, side, side, 3)).astype(np.float32)
            for count in (1, 2, 7, 9, 11):
                for part, whole in zip(network(faces[-count:]), network(faces), strict=True):
                    assert np.array_equal(part, whole[-count:])

    def test_networks_compute_in_float32_with_one_thread(self, detector: Mtcnn) -> None:
        compiled = detector._networks.pnet._requests[0][1].get_compiled_model()
        assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
        assert compiled.get_property("INFERENCE_NUM_THREADS") == 1


class TestPatches:
    def test_patches_sample_the_image_and_are_grey_outside(self) -> None:
        ramp = np.repeat(np.tile(np.arange(20), (10, 1))[..., None], 3, axis=2).astype(np.uint8)  # pixel (i, j) is j
        boxes = np.array([[4, 2, 8, 6], [-8, 0, -4, 4], [30, -9, 40, 1], [18, 0, 22, 4]], np.float32)
        patches = mtcnn._patches(mtcnn._framed(ramp), boxes, 4) * 128 + 127.5
        assert patches.shape == (4, 4, 4, 3)
        np.testing.assert_allclose(patches[0, 0, :, 0], [4, 5, 6, 7], atol=1e-4)
        assert np.all(patches[1:3] == 127.5)  # grey outside the image
        np.testing.assert_allclose(patches[3, 0, :, 0], [18, 19, 127.5, 127.5], atol=1e-4)

    def test_samples_between_pixels_are_weighted(self) -> None:
        """A patch of one sample in the middle of 2x2 pixels is their mean."""
        image = np.zeros((2, 2, 3), np.uint8)
        image[0, 0], image[1, 1] = 100, 40
        (patch,) = mtcnn._patches(mtcnn._framed(image), np.array([[0, 0, 2, 2]], np.float32), 1)
        np.testing.assert_allclose(patch[0, 0] * 128 + 127.5, 35, atol=1e-4)


class TestReference:
    @pytest.mark.parametrize(("name", "step"), [("photo_one_face", 5), ("photo_five_faces", 3)])
    def test_detections_are_those_of_the_reference(
        self, detector: Mtcnn, reference: TorchMtcnn, media_dir: Path, name: str, step: int
    ) -> None:
        image = photo(media_dir / f"{name}.jpg", step)
        for picture in (image, image[:, ::-1].copy(), image[::2, ::2].copy()):
            (expected,) = reference.detect(picture[None], 20)
            assert_same(detector.detect(picture, 20), expected)

    def test_judged_patches_are_those_of_the_reference(self, detector: Mtcnn, reference: TorchMtcnn) -> None:
        patches = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 3), dtype=np.uint8)
        boxes = np.array([[0, 0, 48, 48]] * 5, np.float32)
        assert_same(detector.judge(patches, boxes), reference.judge(patches, boxes))


def assert_same(detections: Detections, expected: Detections) -> None:
    assert len(detections) == len(expected) > 0
    np.testing.assert_allclose(detections.boxes, expected.boxes, rtol=0, atol=1e-3)
    np.testing.assert_allclose(detections.scores, expected.scores, rtol=0, atol=1e-5)
    np.testing.assert_allclose(detections.landmarks, expected.landmarks, rtol=0, atol=1e-3)


class TestDetect:
    @pytest.mark.parametrize(("name", "step", "faces"), [("photo_one_face", 4, 1), ("photo_five_faces", 3, 5)])
    def test_all_faces_of_photos_are_detected(
        self, detector: Mtcnn, media_dir: Path, name: str, step: int, faces: int
    ) -> None:
        image = photo(media_dir / f"{name}.jpg", step)
        detections = detector.detect(image, 20)
        assert len(detections) == faces and detections.scores.min() > 0.95
        assert np.all(np.diff(detections.scores) <= 0)
        for box, points in zip(detections.boxes, detections.landmarks, strict=True):
            assert np.all(points > box[:2]) and np.all(points < box[2:])
            left_eye, right_eye, nose, left_mouth, right_mouth = points
            assert left_eye[0] < nose[0] < right_eye[0] and left_mouth[0] < right_mouth[0]
            assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])

    def test_judge_confirms_a_detected_face(self, detector: Mtcnn, media_dir: Path) -> None:
        image = photo(media_dir / "photo_one_face.jpg", 4)
        detections = detector.detect(image, 20)
        x0, y0, x1, y1 = np.rint(square_boxes(detections.boxes)[0]).astype(int)
        patch = resize(image[y0:y1, x0:x1], 48, 48)
        judged = detector.judge(patch[None], np.array([[x0, y0, x1, y1]], np.float32))
        assert judged.scores[0] > 0.95
        np.testing.assert_allclose(judged.landmarks[0], detections.landmarks[0], atol=0.06 * (x1 - x0))
        assert detector.judge(np.full((1, 48, 48, 3), 90, np.uint8), np.zeros((1, 4), np.float32)).scores[0] < 0.5

    def test_following_converges_to_one_box_from_any_start(self, detector: Mtcnn, media_dir: Path) -> None:
        image = photo(media_dir / "photo_one_face.jpg", 4)
        start = detector.detect(image, 20).boxes[0]
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
        assert len(detector.detect(np.full((*shape, 3), 77, np.uint8), 12)) == 0

    def test_noise_gives_few_detections(self, detector: Mtcnn) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
        assert len(detector.detect(noise, 12)) < 5
