"""The model card of a run: `README.md` with metadata for the Hub, under the headings of the EU AI Act's Annex IV.

Every figure comes from the bundle, the evaluation or the audit. What they do not hold is said to be unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crnet.bundle.verify import find_bundle, run_of
from crnet.errors import FormatError
from crnet.evaluation.evaluation import FLOOR, FUSION
from crnet.fusion.conformal import INTERVAL_LEVEL
from crnet.metrics import AVERAGE
from crnet.report.card_documents import CardDocuments, Document, read_card_documents
from crnet.report.card_file import save_card
from crnet.report.model_facts import config_facts
from crnet.report.page_templates import MEANINGS, NEUROTICISM, environment
from crnet.text.encoder_interface import encoder_label
from crnet.text.language import LANGUAGE_CODES
from crnet.types import DATA_SOURCES, TARGETS, TRAINED_ON_SYNTHETIC_PEOPLE, Split, target_label
from crnet.utils.number_format import (
    METRIC_NAMES,
    decimal,
    difference,
    interval_text,
    p_text,
    percent,
    range_text,
)

CARD_FILE = "README.md"
UNKNOWN_LICENCE = "unknown"
TAGS = ("apparent-personality", "first-impressions", "big-five", "video", "audio", "cr-net")
HUB_METRICS = {"mae": "mae", "r2": "r_squared", "pearson": "pearsonr"}
"""Our metrics that have an identifier on the Hub. Its `accuracy` is a share of correct answers, not 1 - MAE."""
METRIC_TYPES = {**HUB_METRICS, "accuracy": "one_minus_mae"}
LISTED_METRICS = ("accuracy", "mae", "error_removed", "r2", "pearson", "ccc", "spread")
DIFFERENCES_SHOWN = 12


def write_card(
    run: Path,
    *,
    split: Split = "test",
    licence: str | None = None,
    provider: str | None = None,
    out: Path | None = None,
) -> Path:
    """Write the model card of a run and return its path.

    Args:
        run: A run folder, or its bundle.
        split: The split whose evaluation and audit the card reports.
        licence: Identifier of the licence of the weights; None: unknown.
        provider: Who is responsible for the model; None: unknown.
        out: The file; None: `README.md` in the run.

    Raises:
        FormatError: See `read_card_documents`; or a document lacks figures.
        UsageError: There is a card that somebody has completed.
        StorageError: The file cannot be written.
    """
    path = out or run_of(find_bundle(run)) / CARD_FILE
    save_card(path, render_card(read_card_documents(run, split), licence=licence, provider=provider))
    return path


def render_card(documents: CardDocuments, *, licence: str | None = None, provider: str | None = None) -> str:
    """Render the model card; see `write_card`."""
    import yaml

    with _figures_of(documents.metrics_path):
        metadata, facts, results = card_metadata(documents, licence), _facts(documents), _results(documents.metrics)
    with _figures_of(documents.audit_path):
        audit = _audit(documents.audit)
    templates = environment()
    templates.filters["md"] = _markdown
    source = documents.bundle["training_source"]
    context = {
        "metadata": yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=1000),
        "model": documents.model,
        "split": documents.split,
        "licence": licence,
        "provider": provider,
        "synthetic": TRAINED_ON_SYNTHETIC_PEOPLE if source == "simulated" else "",
        "source": source,
        "source_text": DATA_SOURCES[source].short,
        "language": None if documents.calibration is None else documents.calibration.language,
        "meanings": MEANINGS,
        "neuroticism": NEUROTICISM,
        "facts": facts,
        "encoder": encoder_label(documents.bundle["encoder"]),
        "config": documents.config,
        "bundle": documents.bundle,
        "exported": documents.exported,
        "size_mb": f"{documents.size_bytes / 1e6:.1f}",
        "versions": documents.bundle.get("versions") or {},
        "data": (documents.run or {}).get("data") or {},
        "calibration": documents.calibration,
        "level": percent(INTERVAL_LEVEL, 0),
        "results": results,
        "audit": audit,
    }
    return templates.get_template("model_card.md").render(context).rstrip() + "\n"


@contextmanager
def _figures_of(path: Path) -> Iterator[None]:
    """Name the document in the error if it lacks what the card shows.

    Raises:
        FormatError: It does.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(
            f"does not hold the figures of a run: {type(error).__name__} {error}",
            path=path,
            remedy="run crnet evaluate or crnet audit with this run again",
        ) from error


def _facts(documents: CardDocuments) -> list[tuple[str, str]]:
    facts = config_facts(documents.config, documents.bundle["encoder"])
    fusion = (documents.metrics or {}).get("fusion")
    return [*facts, ("fusion", fusion or "unknown")]


def card_metadata(documents: CardDocuments, licence: str | None) -> dict[str, Any]:
    """Return the metadata that the Hub reads from the beginning of `README.md`."""
    language = None if documents.calibration is None else documents.calibration.language
    code = LANGUAGE_CODES.get(language or "")
    source = documents.bundle["training_source"]
    metadata: dict[str, Any] = {
        **({} if code is None else {"language": [code]}),
        "license": licence or UNKNOWN_LICENCE,
        "library_name": "crnet",
        "tags": [*TAGS, *(["synthetic-data"] if source == "simulated" else [])],
        "datasets": [source],
    }
    if documents.metrics is None:
        return metadata
    average = documents.metrics["systems"][FUSION][AVERAGE]
    reported = [name for name in LISTED_METRICS if average[name] is not None]
    metadata["metrics"] = [HUB_METRICS[name] for name in reported if name in HUB_METRICS]
    metadata["model-index"] = [
        {
            "name": documents.model.name,
            "results": [
                {
                    "task": {"type": "other", "name": "apparent personality from video"},
                    "dataset": {
                        "name": DATA_SOURCES[documents.metrics["source"]].short,
                        "type": documents.metrics["source"],
                        "split": documents.split,
                    },
                    "metrics": [
                        {
                            "type": METRIC_TYPES.get(name, name),
                            "name": f"{METRIC_NAMES[name]}, mean of the five traits",
                            "value": round(average[name], 6),
                        }
                        for name in reported
                    ],
                }
            ],
        }
    ]
    return metadata


def _results(metrics: Document | None) -> dict[str, Any] | None:
    """Return the figures of an evaluation as the card shows them; None without one."""
    if metrics is None:
        return None
    systems = metrics["systems"]
    clusters = metrics.get("clusters")
    return {
        "clips": metrics["clips"],
        "missing": len(metrics["missing"]),
        "clusters": None if clusters is None else f"{clusters['count']} {clusters['kind']}s",
        "protocol": metrics.get("protocol", "official"),
        "source": DATA_SOURCES[metrics["source"]].short,
        "warnings": metrics["warnings"],
        "knows_model": bool(metrics.get("model")),
        "rows": [_result_row(target, systems[FUSION][target]) for target in (*TARGETS, AVERAGE)],
        "systems": [
            (
                name,
                decimal(values[AVERAGE]["accuracy"]),
                "" if name == FLOOR else percent(values[AVERAGE]["error_removed"]),
            )
            for name, values in systems.items()
        ],
        "intervals": [
            (target, percent(values["coverage"]), decimal(values["width"], digits=2))
            for target, values in (metrics.get("intervals") or {}).items()
            if target != "level"
        ],
        "accuracy": decimal(systems[FUSION][AVERAGE]["accuracy"]),
        "floor": decimal(systems[FUSION][AVERAGE]["floor_accuracy"]),
        "removed": percent(systems[FUSION][AVERAGE]["error_removed"]),
        "removed_interval": _percent_range(systems[FUSION][AVERAGE]["ci95"]["error_removed"]),
        "spread": decimal(systems[FUSION][AVERAGE]["spread"], digits=2),
    }


def _percent_range(interval: Sequence[float] | None) -> str:
    return "unknown" if interval is None else f"{percent(interval[0])} to {percent(interval[1])}"


def _result_row(target: str, values: Mapping[str, Any]) -> tuple[str, list[str]]:
    cells = [
        decimal(values["accuracy"]),
        interval_text(values["ci95"]["accuracy"]) or "–",
        decimal(values["floor_accuracy"]),
        percent(values["error_removed"]),
        *(decimal(values[name], digits=2) for name in ("r2", "pearson", "ccc", "spread")),
    ]
    return target, cells


def _audit(audit: Document | None) -> dict[str, Any] | None:
    """Return the figures of an audit as the card shows them; None without one."""
    if audit is None:
        return None
    found = sorted((row for row in audit["differences"]["rows"] if row["found"]), key=lambda row: -abs(row["value"]))
    scores = [row["detectable"] for row in audit["differences"]["rows"] if row["quantity"] == "score"]
    return {
        "clips": audit["clips"],
        "clusters": f"{audit['clusters']['count']} {audit['clusters']['kind']}s",
        "comparisons": audit["differences"]["comparisons"],
        "found": [_difference_row(row) for row in found[:DIFFERENCES_SHOWN]],
        "found_count": len(found),
        "detectable": f"{decimal(min(scores), digits=2)} to {decimal(max(scores), digits=2)}" if scores else None,
        "power": percent(audit["differences"]["power"], 0),
        "groups": _group_rows(audit),
        "unknown": {grouping: count for grouping, count in audit["unknown"].items() if count},
        "fewest": audit["differences"]["fewest_clusters"],
        "kind": audit["clusters"]["kind"],
        "too_small": [_too_small(row) for row in audit["differences"]["too_small"]],
    }


def _too_small(row: Mapping[str, Any]) -> str:
    target = f", {target_label(row['target'])}" if row.get("target") else ""
    return f"{row['group']} ({row['grouping']}{target}: {row['clusters']})"


def _difference_row(row: Mapping[str, Any]) -> list[str]:
    return [
        f"{row['group']} minus {row['against']}",
        target_label(row["target"]),
        row["quantity"],
        difference(row["value"]),
        range_text((row["low"], row["high"])),
        p_text(row["p"]),
    ]


def _group_rows(audit: Document) -> list[list[str]]:
    """Return, for each group, its clips, its lowest impact ratios, and its largest bias and MAE over the targets."""
    rows = []
    for grouping, groups in audit["metrics"].items():
        ratios = audit["impact_ratios"]["groupings"].get(grouping, {})
        for group, targets in groups.items():
            if not targets:
                continue
            lowest = []
            for source in ("labels", "scores"):
                known = [(of[source], target) for target, of in ratios.get(group, {}).items() if source in of]
                lowest.append(_lowest_ratio([(ratio, t) for ratio, t in known if ratio["ratio"] is not None]))
            biased, bias = max(((t, values["bias"]) for t, values in targets.items()), key=lambda entry: abs(entry[1]))
            missed, error = max(((t, values["mae"]) for t, values in targets.items()), key=lambda entry: entry[1])
            clips = max(values["clips"] for values in targets.values())
            largest = (
                f"{target_label(biased)}: {difference(bias)}",
                f"{target_label(missed)}: {decimal(error, digits=3)}",
            )
            rows.append([grouping, group, str(clips), *lowest, *largest])
    return rows


def _lowest_ratio(ratios: Sequence[tuple[Mapping[str, Any], str]]) -> str:
    """Return the lowest ratio with its target and its interval; few persons or videos have no interval."""
    if not ratios:
        return "–"
    ratio, target = min(ratios, key=lambda entry: float(entry[0]["ratio"]))
    ends = "no interval" if ratio["ci95"] is None else " to ".join(decimal(end, digits=2) for end in ratio["ci95"])
    return f"{target_label(target)}: {decimal(ratio['ratio'], digits=2)} ({ends})"


def _markdown(text: object) -> str:
    """Escape a text from outside for Markdown; the template engine escapes HTML."""
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", " ".join(str(text).split()))
