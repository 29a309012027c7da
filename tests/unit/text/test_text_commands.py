"""The commands `crnet text` and `crnet embed`, and the options --asr and --encoder of other commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crnet.cli.main import main
from crnet.cli.parsing import overview
from crnet.data.manifest import read_manifest
from crnet.errors import ConfigError
from crnet.text.skip_thoughts.kiros_files import KIROS_FILES
from skip_thoughts_files import write_kiros_files
from synthetic import write_store

NOVEL = Path(__file__).with_name("pride-and-prejudice.txt")
SMALL = "--uni 8 --bi 4 --word-dimensions 6 --words 100 --epochs 1 --batch-size 32 --device cpu".split()  # noqa: SIM905


def test_help_lists_the_text_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert all(name in overview() for name in ("embed ", "text fetch ", "text train "))
    assert main(["text", "train", "--help"]) == 0 and "crnet text train" in capsys.readouterr().out
    assert main(["text"]) == 2 and "text fetch, text train" in capsys.readouterr().err


def test_existing_files_are_checked_without_the_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_kiros_files(tmp_path / "files", objects=True)
    assert main(["text", "fetch", str(folder), "--no-download", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["converted"] == ["utable.plain.npy", "btable.plain.npy"]
    assert [file["name"] for file in document["files"]] == [*KIROS_FILES, *document["converted"]]
    assert main(["text", "fetch", str(folder)]) == 0
    output = capsys.readouterr().out
    assert "as before" in output and "published no hashes" in output and f"skip-thoughts:{folder}" in output


def test_missing_files_and_their_source_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_kiros_files(tmp_path)
    (tmp_path / "bi_skip.npz").unlink()
    assert main(["text", "fetch", str(tmp_path), "--no-download"]) == 2
    output = capsys.readouterr().err
    assert "missing in" in output and "bi_skip.npz" in output and "www.cs.toronto.edu/~rkiros/models/" in output


def test_train_and_embed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["text", "train", str(NOVEL), str(tmp_path / "encoder"), *SMALL, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    store = write_store(tmp_path / "store", clips=3, pixels=8)
    assert main(["embed", str(store), "--encoder", document["encoder"], "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["done"], report["skipped"], report["without_words"]) == (3, 0, 0)
    assert read_manifest(store).encoder == report["encoder"]
    assert main(["embed", str(store), "--encoder", document["encoder"]]) == 0
    assert "0 clips embedded, 3 already were" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_options_reach_the_system(command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    arguments: dict[str, object] = {}

    def load(run: Path, device: str = "auto", **options: object) -> None:
        arguments.update(options, device=device)
        raise ConfigError("far enough")

    monkeypatch.setattr("crnet.load", load)
    monkeypatch.setattr("crnet.batch.Scoring.media_settings", lambda scoring: scoring.load())
    flags = ["--asr", "small.en", "--encoder", "skip-thoughts:here", "--device", "cuda"]
    assert main([command, str(tmp_path), "talk.mp4", *flags]) == 2
    extra = {"precision": "auto"} if command == "predict" else {}
    assert arguments == {"asr": "small.en", "encoder": "skip-thoughts:here", "device": "cuda", **extra}


def test_recogniser_and_encoder_reach_the_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    arguments: dict[str, object] = {}
    monkeypatch.setattr("crnet.serve.server.serve", lambda run, config, **options: arguments.update(options))
    assert main(["serve", str(tmp_path), "--asr", "small.en", "--encoder", "skip-thoughts:here"]) == 0
    assert (arguments["asr"], arguments["encoder"]) == ("small.en", "skip-thoughts:here")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["embed", "{}", "--encoder", "word2vec"], "unknown text encoder 'word2vec' (use hashed-ngrams-v1"),
        (["embed", "{}", "--encoder", "skip-thoughts:"], "unknown text encoder"),
        (["embed", "{}", "--encoder", "hashed-ngrams-v1"], "not a clip store"),
        (["embed", "{}"], "--encoder"),
        (["text", "train", "{}/none.txt", "{}/out"], "none.txt: cannot be read"),
        (["text", "train", "{}/none.txt", "{}/out", "--uni", "9999"], "vectors of 9999 + 2 x 1200 numbers"),
        (["text", "fetch", "{}", "--source", "ftp://x"], "is not a web address"),
        (["predict", "{}", "a.mp4", "--asr", "tiny"], "crnet: "),
    ],
)
def test_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], reason: str) -> None:
    assert main([word.replace("{}", str(tmp_path)) for word in words]) == 2
    assert reason in capsys.readouterr().err.splitlines()[-1]
