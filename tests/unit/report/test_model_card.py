"""The model card: metadata that the Hub reads, the headings of Annex IV, and no claim without a figure."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from crnet.audit.audit import audit, write_audit
from crnet.audit.clips import clips_of_run
from crnet.bundle.bundle import Bundle
from crnet.bundle.load import load_bundle
from crnet.bundle.save import save_bundle
from crnet.cli.main import main
from crnet.errors import FormatError, UsageError
from crnet.evaluation.evaluation import Evaluation, write_evaluation
from crnet.report.card_file import check_card
from crnet.report.model_card import write_card
from crnet.types import TRAINED_ON_SYNTHETIC_PEOPLE
from crnet.utils.number_format import decimal, percent

ANNEX_IV = [
    "1. General description",
    "2. Elements of the system and its development",
    "3. Monitoring, functioning and control",
    "4. Appropriateness of the performance metrics",
    "5. Risk management system",
    "6. Changes through the lifecycle",
    "7. Harmonised standards",
    "8. EU declaration of conformity",
    "9. Post-market monitoring",
]


@pytest.fixture(scope="module")
def bare(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without evaluation and audit."""
    folder = tmp_path_factory.mktemp("card") / "my_run"
    save_bundle(bundle, folder / "bundle")
    return folder


@pytest.fixture(scope="module")
def measured(bare: Path, evaluation: Evaluation, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with evaluation and audit."""
    run = tmp_path_factory.mktemp("measured") / "my_run"
    shutil.copytree(bare, run)
    write_evaluation(replace(evaluation, model=load_bundle(run).model), run / "evaluation" / "test")
    groups = "".join(f"clip{i}.mp4,{'fe|male' if i % 2 else 'male'}\n" for i in range(16, 28))
    (run / "g.csv").write_text("clip,group_gender\n" + groups)
    write_audit(audit(clips_of_run(run, store, "test", [run / "g.csv"]), resamples=100), run / "audit" / "test")
    return run


@pytest.fixture
def whole(measured: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return shutil.copytree(measured, tmp_path / "my_run")


def card_of(run: Path, **options: object) -> tuple[dict[str, object], str]:
    text = write_card(run, **options).read_text(encoding="utf-8")
    _, metadata, body = text.split("---\n", 2)
    return yaml.safe_load(metadata), body


def test_without_evaluation_and_audit_the_card_claims_nothing(bare: Path) -> None:
    metadata, body = card_of(bare)
    assert metadata == {
        "license": "unknown",
        "library_name": "crnet",
        "tags": [
            "apparent-personality", "first-impressions", "big-five", "video", "audio", "cr-net", "synthetic-data",
        ],
        "datasets": ["simulated"],
    }  # fmt: skip
    assert re.findall(r"^## (\d\. .*)$", body, flags=re.MULTILINE) == ANNEX_IV
    assert "Unknown: this run was not evaluated on the test split" in body
    assert "Unknown: this run was not audited on the test split" in body
    assert body.lower().count("unknown") > 15
    assert not re.search(r"\.\d{3,4}\b|\d%", body.partition("# Technical documentation")[2])  # no figure
    assert TRAINED_ON_SYNTHETIC_PEOPLE in body
    assert "Neuroticism is reversed" in body


def test_every_figure_is_that_of_the_evaluation(whole: Path, evaluation: Evaluation) -> None:
    metadata, body = card_of(whole, licence="cc-by-nc-4.0", provider="A_Lab <x>")
    average = evaluation.systems["fusion"]["average"]
    for value in (decimal(average["accuracy"]), decimal(average["floor_accuracy"]), percent(average["error_removed"])):
        assert value in body
    row = next(line for line in body.splitlines() if line.startswith("| neuroticism (high = stable) | "))
    assert decimal(evaluation.systems["fusion"]["neuroticism"]["accuracy"]) in row
    assert "12 clips of 12 source videos" in body
    assert metadata["license"] == "cc-by-nc-4.0"
    (index,) = metadata["model-index"]
    values = {metric["type"]: metric["value"] for metric in index["results"][0]["metrics"]}
    assert values["mae"] == pytest.approx(average["mae"], abs=1e-6)
    assert values["r_squared"] == pytest.approx(average["r2"], abs=1e-6)
    assert index["results"][0]["dataset"]["split"] == "test"
    assert metadata["metrics"] == ["mae", "r_squared", "pearsonr"]
    assert "A\\_Lab &lt;x&gt;" in body


def test_the_audit_is_part_of_the_card(whole: Path) -> None:
    body = card_of(whole)[1]
    assert "| gender | fe\\|male | 6 |" in body
    assert "No groups were compared, because too few source videos are known." in body
    assert "fewer than 20 source videos: fe\\|male (gender: 6); male (gender: 6)." in body
    (ratio,) = re.findall(r"^\| gender \| male \| 6 \| (.*?) \|", body, flags=re.MULTILINE)
    target = r"[a-z]+(?: \(high = stable\))?"
    assert re.fullmatch(rf"{target}: (\.\d\d|1\.00) \(no interval\)", ratio)  # fewer than ten videos
    assert re.search(
        rf"^\| gender \| male \| 6 \|.*\| {target}: [+−]\.\d{{4}} \| {target}: \.\d{{3}} \|$", body, re.MULTILINE
    )
    assert "Potentially discriminatory" in body and "not audited" not in body


def test_the_hub_library_reads_the_metadata(whole: Path) -> None:
    card = ModelCard.load(write_card(whole))
    assert card.data.library_name == "crnet"
    types = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert types.keys() >= {"mae", "pearsonr", "ccc"}
    assert "accuracy" not in types  # on the Hub, a share of correct answers
    assert types["one_minus_mae"] == pytest.approx(1 - types["mae"], abs=1e-6)
    assert card.data.model_name == "my_run"


def test_figures_of_another_system_are_refused(whole: Path) -> None:
    path = whole / "evaluation" / "test" / "metrics.json"
    document = json.loads(path.read_text())
    document["model"]["fingerprint"] = "0" * 16
    path.write_text(json.dumps(document))
    with pytest.raises(FormatError, match="about another system than this bundle"):
        write_card(whole)
    del document["model"], document["clusters"]  # as an earlier version wrote it
    path.write_text(json.dumps(document))
    assert "does not record which model it measured" in card_of(whole)[1]


def test_the_audit_and_the_evaluation_of_a_table_are_not_those_of_the_model(whole: Path) -> None:
    path = whole / "audit" / "test" / "audit.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"model": None}))  # as crnet audit --predictions writes it
    with pytest.raises(FormatError, match=r"audit\.json: is about another system than this bundle"):
        write_card(whole)
    path.unlink()
    metrics = whole / "evaluation" / "test" / "metrics.json"
    metrics.write_text(json.dumps({"clips": 2, "systems": {"p.csv": {}, "floor": {}}}))
    with pytest.raises(FormatError, match=r"metrics\.json: does not hold the figures of a run: KeyError 'fusion'"):
        write_card(whole)


@pytest.mark.parametrize("damage", [{"metrics": 3}, {"differences": {"rows": [{}]}}, {"clips": None, "clusters": None}])
def test_a_damaged_audit_is_named(whole: Path, damage: dict[str, object]) -> None:
    path = whole / "audit" / "test" / "audit.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(FormatError, match=r"audit\.json: does not hold the figures of a run"):
        write_card(whole)


def test_the_command_writes_the_card_beside_the_bundle(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", str(bare / "bundle"), "--license", "mit"]) == 0
    assert capsys.readouterr().out.strip() == str(bare / "README.md")
    assert (bare / "README.md").read_text(encoding="utf-8").startswith("---\nlicense: mit\n")


def test_a_card_is_written_again_until_somebody_completes_it(whole: Path, tmp_path: Path) -> None:
    path = write_card(whole)
    write_card(whole, provider="Some lab")
    text = path.read_text(encoding="utf-8")
    assert "Provider: Some lab." in text
    path.write_text(text.replace("Other forms: unknown", "Other forms: none"), encoding="utf-8")
    with pytest.raises(UsageError, match=r"README\.md was changed since crnet card wrote it"):
        write_card(whole)
    assert "Other forms: none" in path.read_text(encoding="utf-8")
    assert write_card(whole, out=tmp_path / "card.md").is_file()


def test_a_card_of_another_model_is_refused(whole: Path) -> None:
    path, fingerprint = write_card(whole), load_bundle(whole).model.fingerprint
    check_card(path, fingerprint)
    with pytest.raises(FormatError, match=f"describes another model than this bundle .fingerprint {fingerprint}"):
        check_card(path, "0" * 16)
    path.write_text("# A card of our own\n")
    check_card(path, fingerprint)
