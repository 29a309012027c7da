"""Tests of plugins, with the example package in crnet_diary, installed as far as Python can tell."""

from __future__ import annotations

import json
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crnet.data.prepare import prepare
from crnet.data.sources.dataset import VideoGroup
from crnet.data.sources.open_dataset import open_dataset
from crnet.errors import ConfigError, LabelError, UsageError
from crnet.score_tables.open_table import open_score_table
from crnet.score_tables.rows import ScoreRow
from crnet.text.encoders import encoder_by_name, find_encoder
from crnet.types import TARGETS, Prediction
from crnet.utils.plugins import plugin_names

PACKAGE = Path(__file__).parent / "crnet_diary"
Install = Callable[..., None]
SCORED = ScoreRow(
    Prediction("a.mp4", 1.0, dict.fromkeys(TARGETS, 0.5)),
    "model",
    "0.2",
    "2026-01-31T02:00:00Z",
    1.0,
    "f" * 64,
    "input",
)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """A function that makes entry points known, as an installation does."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(PACKAGE))
    monkeypatch.syspath_prepend(str(site))

    def install(name: str, groups: dict[str, dict[str, str]]) -> None:
        folder = site / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [
            line
            for group, plugins in groups.items()
            for line in (f"[{group}]", *(f"{key} = {value}" for key, value in plugins.items()))
        ]
        (folder / "entry_points.txt").write_text("\n".join(lines))

    return install


@pytest.fixture
def diary_package(install: Install) -> None:
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    install(project["name"], project["entry-points"])


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    folder = tmp_path / "diary"
    folder.mkdir()
    (folder / "monday.mp4").write_bytes(b"not really a video")
    entry = {"words": "what a day", "scores": dict.fromkeys(TARGETS, 0.5)}
    (folder / "diary.json").write_text(json.dumps({"monday.mp4": entry}))
    return folder


def test_without_a_plugin_its_names_are_unknown(diary: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown text encoder 'length'"):
        encoder_by_name("length")
    with pytest.raises(UsageError, match="no format of scores"), open_score_table(str(tmp_path / "a.tsv"), "m", []):
        pass
    assert "monday.mp4" in open_dataset(diary).clips  # a folder of videos without labels
    assert open_dataset(diary).clips["monday.mp4"].scores is None


@pytest.mark.usefixtures("diary_package")
def test_a_source_recognises_its_dataset_before_the_folders_do(diary: Path, tmp_path: Path) -> None:
    dataset = open_dataset(diary)
    clip = dataset.clips["monday.mp4"]
    assert (clip.scores, clip.person, clip.transcript) == ((0.5,) * 6, "me", "what a day")
    (group,) = dataset.video_groups(tmp_path)
    assert isinstance(group, VideoGroup)
    assert [video.location for video in group.videos] == [diary / "monday.mp4"]
    (diary / "diary.json").write_text("[]")
    with pytest.raises(LabelError, match=r"diary\.json: is no index of a diary"):
        open_dataset(diary)
    (diary / "diary.json").unlink()
    assert open_dataset(diary).clips["monday.mp4"].scores is None  # again a folder of videos


@pytest.mark.usefixtures("diary_package")
def test_prepare_opens_a_source_of_a_plugin(diary: Path, tmp_path: Path) -> None:
    failures = prepare(diary, tmp_path / "store", workers=0).failures
    assert [failure.clip for failure in failures] == ["monday.mp4"]  # it is not really a video


@pytest.mark.usefixtures("diary_package")
def test_an_encoder_is_found_by_its_name_and_by_the_name_in_a_store() -> None:
    encoder = encoder_by_name("length")
    vectors = encoder.encode(["one two three", ""])
    assert vectors.shape == (2, 4800)
    assert np.allclose(vectors[:, 0], [0.03, 0])  # three words, none
    assert find_encoder(encoder.name).name == "length"
    with pytest.raises(ConfigError, match="unknown text encoder 'length:somewhere'"):
        encoder_by_name("length:somewhere")  # it has no place


@pytest.mark.usefixtures("diary_package")
def test_a_table_resumes_and_tells_what_is_done(tmp_path: Path) -> None:
    file = tmp_path / "scores.tsv"
    with open_score_table(str(file), "model", ["a.mp4"]) as (table, done):
        assert done.inputs == {}
        table.append(SCORED)
    lines = file.read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == ["clip", "a.mp4"]
    with file.open("a") as half_written:
        half_written.write("b.mp4\t")
    with open_score_table(str(file), "model", ["a.mp4", "b.mp4"]) as (_, done):
        assert done.inputs == {"a.mp4": frozenset({"input"})}
    assert file.read_text().splitlines() == lines


def test_a_table_is_found_by_a_suffix_with_two_dots(install: Install, tmp_path: Path) -> None:
    install("packed", {"crnet.tables": {".tsv.gz": "crnet_diary:TsvTable", ".gz": "crnet_diary:SOURCE"}})
    with open_score_table(str(tmp_path / "a.tsv.gz"), "m", []) as (table, _):  # the longest suffix: a TsvTable
        table.append(SCORED)
    assert (tmp_path / "a.tsv.gz").read_text().startswith("clip\t")
    with pytest.raises(ConfigError, match=r"the plugin '\.gz' .* is no type"), open_score_table("a.gz", "m", []):
        pass


@pytest.mark.usefixtures("diary_package")
def test_errors_name_what_installed_plugins_offer(install: Install, tmp_path: Path) -> None:
    install("lexica", {"crnet.encoders": {"lexicon": "lexica:KIND"}})
    module = "from crnet.text.encoders import EncoderKind\n\nKIND = EncoderKind(print, ('FILE',))\n"
    (tmp_path / "site" / "lexica.py").write_text(module)
    with pytest.raises(ConfigError, match=r"unknown text encoder 'lexicon' \(use lexicon:FILE\)"):
        encoder_by_name("lexicon")
    with pytest.raises(ConfigError, match="; plugins add length and lexicon; if a plugin has it, install its package"):
        encoder_by_name("of-nobody:here")
    with pytest.raises(UsageError, match=r"\.parquet, \.tsv or sqlite"), open_score_table("a.xyz", "m", []):
        pass


@pytest.mark.usefixtures("diary_package")
def test_a_plugin_cannot_replace_what_crnet_has(install: Install) -> None:
    install("impostor", {"crnet.encoders": {"hashed-ngrams-v1": "crnet_diary:ENCODER"}})
    assert plugin_names("crnet.encoders") == ["hashed-ngrams-v1", "length"]
    assert type(encoder_by_name("hashed-ngrams-v1")).__name__ == "HashedNgrams"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("crnet_diary:NOTHING", "of broken cannot be imported: AttributeError"),
        ("no_such_module:ENCODER", "of broken cannot be imported: ModuleNotFoundError"),
        ("crnet_diary:SOURCE", "of broken is no EncoderKind"),
    ],
)
def test_a_broken_plugin_is_named(install: Install, value: str, reason: str) -> None:
    install("broken", {"crnet.encoders": {"bad": value}})
    with pytest.raises(ConfigError, match=f"the plugin 'bad' .*{reason}"):
        encoder_by_name("bad")


def test_a_plugin_that_fails_is_named(install: Install, tmp_path: Path) -> None:
    module = """
        from crnet.data.sources.open_dataset import Opener
        from crnet.text.encoders import EncoderKind

        SOURCE = Opener(lambda path, files: True, lambda path, files, keys: {}["no such key"])
        ENCODER = EncoderKind(lambda place, fingerprint: 1 / 0)

        class Table:
            def __init__(self, path): ...
            def recover(self, done, is_retried): raise ValueError("what is this?")
            def append(self, row): ...
            def close(self): ...
    """
    groups = {"sources": "SOURCE", "encoders": "ENCODER", "tables": "Table"}
    install("faulty", {f"crnet.{group}": {".faulty": f"faulty:{name}"} for group, name in groups.items()})
    (tmp_path / "site" / "faulty.py").write_text(textwrap.dedent(module))
    with pytest.raises(
        ConfigError, match=r"the plugin '\.faulty' \(crnet\.sources\) failed with KeyError: 'no such key'"
    ):
        open_dataset(tmp_path)
    with pytest.raises(ConfigError, match=r"\(crnet\.encoders\) failed with ZeroDivisionError"):
        encoder_by_name(".faulty")
    with (
        pytest.raises(
            ConfigError, match=r"\(crnet\.tables\) failed with ValueError: what is this\? \(tell the authors"
        ),
        open_score_table(str(tmp_path / "a.faulty"), "m", []),
    ):
        pass


@pytest.mark.usefixtures("diary_package")
def test_two_plugins_of_one_name_are_refused(install: Install) -> None:
    install("other", {"crnet.encoders": {"length": "crnet_diary:SOURCE"}})
    with pytest.raises(ConfigError, match=r"two plugins are called 'length' .*: crnet-diary and other"):
        encoder_by_name("length")
