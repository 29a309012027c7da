"""An exported system predicts what the run predicts, says what int8 costs, and is refused if it is foreign."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crnet.bundle import export, exported
from crnet.bundle.bundle import Bundle
from crnet.bundle.export import export_bundle
from crnet.bundle.load import open_bundle
from crnet.bundle.runtime import open_networks
from crnet.bundle.save import save_bundle
from crnet.bundle.verify import document_sha256
from crnet.data.manifest import read_manifest, write_manifest
from crnet.data.splits import training_fingerprint
from crnet.errors import ConfigError, FormatError, StorageError, UsageError
from crnet.models.openvino_networks import OpenVinoNetworks
from crnet.predict import Predictor
from crnet.types import Clip
from crnet.utils.files import read_json, sha256, write_json
from crnet.utils.openvino_runtime import openvino, ops


@pytest.fixture(scope="module")
def run(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save_bundle(bundle, folder / "bundle")
    return folder


@pytest.fixture(scope="module")
def exported_run(run: Path) -> Path:
    export_bundle(run, run / "exported")
    return run / "exported"


@pytest.fixture
def out(exported_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported_run, tmp_path / "exported"))


def sign_again(folder: Path, name: str) -> None:
    """Name a changed file in bundle.json, as somebody who forges a bundle would."""
    document = read_json(folder / "bundle.json", "a bundle")
    document["files"][name] = sha256(folder / name)
    write_json(folder / "bundle.json", {**document, "sha256": document_sha256(document)})


def edit(folder: Path, name: str, change: Callable[[str], str]) -> None:
    path = folder / name
    text = path.read_text()
    assert change(text) != text
    path.write_text(change(text))
    sign_again(folder, name)


def test_an_exported_system_gives_the_same_scores(bundle: Bundle, out: Path, clip_maker: Callable[[str], Clip]) -> None:
    clip = clip_maker("a.mp4")
    before, after = Predictor(bundle).predict_clip(clip), Predictor(open_bundle(out)).predict_clip(clip)
    assert before.scores is not None and after.scores is not None
    for target, score in before.scores.items():
        assert after.scores[target] == pytest.approx(score, abs=1e-6)
    assert before.warnings == after.warnings and before.intervals == after.intervals


def test_every_file_is_named_with_its_hash(out: Path) -> None:
    document = read_json(out / "bundle.json", "a bundle")
    others = {path.name for path in out.iterdir()} - {"bundle.json"}
    assert document["files"] == {name: sha256(out / name) for name in others}
    assert {"scene.xml", "scene.bin", "trees.safetensors"} <= others
    assert document["export"]["precision"] == "fp32"
    assert 0 < document["export"]["largest_feature_difference"] < 1e-5


def test_int8_is_measured_on_the_validation_clips(
    bundle: Bundle, store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("nncf")
    run = tmp_path / "run"
    save_bundle(replace(bundle, training_fingerprint="of other clips"), run)
    manifest = read_manifest(store)
    scored = [row for row in manifest.clips if row.scores is not None]
    rows = tuple(replace(row, split="val" if i % 2 else "train") for i, row in enumerate(scored))
    write_manifest(tmp_path / "store", replace(manifest, clips=rows))
    for path in store.iterdir():
        if path.is_dir():
            (tmp_path / "store" / path.name).symlink_to(path)
    facts = export_bundle(run, tmp_path / "int8", "int8", tmp_path / "store")
    assert read_json(tmp_path / "int8" / "bundle.json", "a bundle")["export"] == facts
    assert facts["calibrated_on_training_clips"] is False
    assert "not the training and validation clips of this system" in caplog.text
    cost = facts["validation"]
    assert cost["clips"] == len(rows) // 2
    assert 0 < cost["mean_score_difference"] < cost["largest_score_difference"]  # random weights: no bound holds
    assert cost["accuracy_lost"] == pytest.approx(cost["accuracy_fp32"] - cost["accuracy"])
    graph = open_bundle(tmp_path / "int8").networks.graph("face")  # type: ignore[attr-defined]
    kinds = [node.get_type_name() for node in graph.get_ops()]
    assert kinds.count("FakeQuantize") > kinds.count("Convolution") > 0
    stored = [node.get_element_type().get_type_name() for node in graph.get_ops() if node.get_type_name() == "Constant"]
    assert stored.count("i8") == kinds.count("Convolution")
    sound = open_bundle(tmp_path / "int8").networks.graph("audio-text")  # type: ignore[attr-defined]
    assert all(node.get_type_name() != "FakeQuantize" for node in sound.get_ops())


def test_the_store_of_the_training_is_recognised(bundle: Bundle, store: Path, caplog: pytest.LogCaptureFixture) -> None:
    manifest = read_manifest(store)
    trained_here = replace(bundle, training_fingerprint=training_fingerprint(manifest))
    assert export._holds_training_clips(trained_here, manifest, store) is True
    assert export._holds_training_clips(bundle, manifest, store) is None  # an old bundle names no clips
    assert not caplog.text


def test_a_system_without_a_visual_stream_has_no_int8_form(
    run: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "QUANTIZED_STREAMS", ())
    with pytest.raises(UsageError, match="fp32"):
        export_bundle(run, tmp_path / "int8", "int8", store)


def test_int8_needs_a_store(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--store"):
        export_bundle(run, tmp_path / "int8", "int8")


def test_a_bundle_is_not_exported_into_itself(run: Path) -> None:
    with pytest.raises(ConfigError, match="another folder"):
        export_bundle(run, run / "bundle")
    with pytest.raises(ConfigError, match="another folder"):
        export_bundle(run, run)
    assert (run / "bundle" / "bundle.json").is_file() and not (run / "bundle.json").exists()


@pytest.mark.parametrize("kind", ["run", "bundle", "unfinished run"])
def test_no_other_trained_system_is_replaced(run: Path, tmp_path: Path, kind: str) -> None:
    other = tmp_path / "other"
    if kind == "unfinished run":
        write_json(other / "run.json", {})
    else:
        shutil.copytree(run / "bundle", other if kind == "bundle" else other / "bundle")
    before = {path: path.read_bytes() for path in other.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=r"other: holds a trained system.*another folder"):
        export_bundle(run, other)
    assert {path: path.read_bytes() for path in other.rglob("*") if path.is_file()} == before


def test_an_earlier_export_is_replaced(run: Path, out: Path) -> None:
    export_bundle(run, out)
    assert open_bundle(out)


def test_a_full_disk_of_temporary_files_is_named(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("basic_ios::clear: iostream error")  # as OpenVINO does on a full disk

    monkeypatch.setattr(openvino, "save_model", fails)
    with pytest.raises(StorageError, match=r"the graph cannot be written \(.*TMPDIR"):
        export_bundle(run, tmp_path / "out")


@pytest.mark.parametrize(
    ("in_pytorch", "reason"), [(True, "no finite numbers"), (False, "differ from PyTorch's by nan")]
)
def test_features_that_are_no_numbers_are_not_exported(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, in_pytorch: bool, reason: str
) -> None:
    """Neither of a network that diverged, nor of a graph that gives NaN where the network gives numbers."""
    right, wrong = np.ones((1, 6, 8), np.float32), np.full((1, 6, 8), np.nan, np.float32)
    monkeypatch.setattr(export, "run_networks", lambda *_: ({"face": wrong if in_pytorch else right}, {}))
    monkeypatch.setattr(OpenVinoNetworks, "run", lambda *_: ({"face": wrong}, {}))
    with pytest.raises(FormatError, match=reason):
        export._check(bundle, {}, None, {})


def test_an_exported_bundle_runs_on_the_cpu_beside_a_gpu(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crnet.bundle.runtime.uses_gpu", lambda device: device != "cpu")
    assert isinstance(open_networks(open_bundle(out)), OpenVinoNetworks)


def test_an_exported_bundle_has_no_modules_to_train_or_explain(out: Path) -> None:
    bundle = open_bundle(out)
    assert set(bundle.networks) == {"scene", "face", "audio-text"} and "scene" in bundle.networks
    with pytest.raises(UsageError, match="the run that it was exported from"):
        bundle.networks["scene"]


FORGERIES: dict[str, tuple[str, Callable[[str], str], str]] = {
    "an entity": (
        "scene.xml",
        lambda text: text.replace("<net ", '<!DOCTYPE a [<!ENTITY b "c">]>\n<net ', 1),
        "document",
    ),
    "another operation": ("scene.xml", lambda text: text.replace('type="ReLU"', 'type="Sigmoid"', 1), "'Sigmoid'"),
    "two operations with one number": (
        "scene.xml",
        lambda text: text.replace('<layer id="1"', '<layer id="0"', 1),
        "number",
    ),
    "a number in other digits": (
        "scene.xml",
        lambda text: text.replace('from-layer="1"', 'from-layer="+1"', 1),
        "number",
    ),
    "an operation in other letters": (
        "scene.xml",
        lambda text: text.replace('type="ReLU"', 'type="shapeof"', 1),
        "'shapeof'",
    ),
    "no graph": ("scene.xml", lambda text: text[: len(text) // 2], "OpenVINO"),
    "weights outside the file": ("scene.xml", lambda text: text.replace('offset="', 'offset="9999999', 1), "OpenVINO"),
    "another size": (
        "face.xml",
        lambda text: text.replace("16,16", "24,24").replace("<dim>16</dim>", "<dim>24</dim>"),
        "",
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_graph_is_refused_by_name(out: Path, forgery: str) -> None:
    name, change, reason = FORGERIES[forgery]
    edit(out, name, change)
    with pytest.raises(FormatError, match=rf"{name}: .*{reason}"):
        open_bundle(out).networks.graph(name.removesuffix(".xml"))  # type: ignore[attr-defined]


def forge(folder: Path, bundle: Bundle, name: str, value: Callable[[Any], Any]) -> None:
    """Replace a graph by one with the right inputs and outputs; `value` makes its outputs from the sum of its input."""
    transforms = bundle.config.transforms
    frames = ops.parameter([1, transforms.frames, 3, transforms.pixels, transforms.pixels], np.uint8, name=name)
    frames.output(0).tensor.set_names({name})
    computed, results = value(ops.reduce_sum(ops.convert(frames, "f32"), [0, 1, 2, 3, 4])), []
    for output, shape in (("features", [1, 6, 8 * bundle.config.model.width]), ("scores", [1, 6])):
        results.append(ops.result(ops.broadcast(computed, shape)))
        results[-1].output(0).tensor.set_names({output})
    openvino.save_model(openvino.Model(results, [frames], name), folder / f"{name}.xml", compress_to_fp16=False)
    for suffix in ("xml", "bin"):
        sign_again(folder, f"{name}.{suffix}")


def with_computed_shape(total: Any) -> Any:
    """Return a sum in a shape that is the sum of 10 ones, minus 9: it could be that of a billion."""
    ones = ops.broadcast(ops.constant(np.int64(1)), [10])
    shape = ops.unsqueeze(ops.subtract(ops.reduce_sum(ones, [0]), ops.constant(np.int64(9))), [0])
    return ops.reduce_sum(ops.reshape(ops.reshape(total, [1], False), shape, False), [0])


def with_many_values(total: Any) -> Any:
    """Return a sum of arrays of 64 MB, all of which are needed until the end."""
    values = [ops.broadcast(total, [16 << 20])]
    values += [ops.add(values[0], np.float32(i)) for i in range(3)]
    return ops.reduce_sum(ops.add(ops.add(values[0], values[1]), ops.add(values[2], values[3])), [0])


@pytest.mark.parametrize(
    ("value", "reason"),
    [(with_computed_shape, "computes a shape of 'Reshape'"), (with_many_values, "computes 448 MB, far more")],
)
def test_a_graph_that_would_take_memory_is_refused_before_it_does(
    bundle: Bundle, out: Path, value: Callable[[Any], Any], reason: str
) -> None:
    forge(out, bundle, "face", lambda total: total)
    assert open_bundle(out).networks.graph("face")  # type: ignore[attr-defined]
    forge(out, bundle, "face", value)
    with pytest.raises(FormatError, match=rf"face.xml: the graph {reason}"):
        open_bundle(out).networks.graph("face")  # type: ignore[attr-defined]


def test_a_graph_that_is_too_large_is_refused(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported, "MAX_GRAPH_BYTES", 1_000)
    with pytest.raises(FormatError, match=r"scene.xml: has \d+ bytes, expected 1 to 1000"):
        open_bundle(out).networks.graph("scene")  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["scene.xml", "face.bin"])
def test_a_changed_graph_is_named_before_it_is_read(out: Path, name: str) -> None:
    content = bytearray((out / name).read_bytes())
    content[len(content) // 2] ^= 1
    (out / name).write_bytes(bytes(content))
    with pytest.raises(FormatError, match=f"{name}.*damaged"):
        open_bundle(out)


@pytest.mark.parametrize("kind", ["plain", "exported"])
def test_networks_that_changed_since_the_bundle_was_opened_are_refused(
    run: Path, out: Path, tmp_path: Path, kind: str
) -> None:
    """A service opens a bundle once, and each job reads the networks: they must be those of the same system."""
    folder = out if kind == "exported" else Path(shutil.copytree(run / "bundle", tmp_path / "plain"))
    bundle, path = open_bundle(folder), next(folder.glob("face.[bs]*"))
    assert bundle.networks.graph("face")  # type: ignore[attr-defined]
    path.write_bytes(path.read_bytes())
    os.utime(path, (1, 1))
    with pytest.raises(
        FormatError, match=rf"{path.name}: has changed since the bundle was opened.*restart the service"
    ):
        bundle.networks.graph("face")  # type: ignore[attr-defined]
    assert bundle.networks.graph("scene")  # type: ignore[attr-defined]


def test_the_graphs_of_another_system_are_refused(bundle: Bundle, out: Path, tmp_path: Path) -> None:
    config = replace(bundle.config, model=replace(bundle.config.model, width=4))
    networks = exported.ExportedNetworks(out, config)
    with pytest.raises(FormatError, match="expected"):
        networks.graph("face")


def test_earlier_versions_refuse_the_format(out: Path) -> None:
    assert read_json(out / "bundle.json", "a bundle")["format"] == 2
    assert np.isfinite(open_bundle(out).train_medians).all()
