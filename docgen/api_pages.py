"""Reference pages of the Python interface: their modules. mkdocstrings fills them from docstrings."""

from __future__ import annotations

from typing import NamedTuple

FOLDER = "reference/api"


class ApiPage(NamedTuple):
    """A page of the Python reference."""

    title: str
    text: str
    modules: tuple[str, ...]


API_PAGES = {
    "predict": ApiPage(
        "Predict",
        "Load a trained system and score videos. Needs no PyTorch.",
        ("crnet", "crnet.predict", "crnet.batch", "crnet.score_batch"),
    ),
    "types": ApiPage(
        "Types and errors", "The records that pass between the parts, and every error.", ("crnet.types", "crnet.errors")
    ),
    "models": ApiPage(
        "Networks and losses",
        "The layer and the losses of the paper, each usable in any PyTorch model: `from crnet.models import ...`.",
        (
            "crnet.models.cr_block",
            "crnet.models.losses",
            "crnet.models.heads",
            "crnet.models.score_head",
            "crnet.models.classes",
            "crnet.models.resnet",
            "crnet.models.crnet",
            "crnet.models.config",
        ),
    ),
    "metrics": ApiPage("Metrics", "Metrics with intervals, for any number of targets.", ("crnet.metrics",)),
    "data": ApiPage(
        "Clips and datasets",
        "Clip stores, manifests and PyTorch datasets.",
        (
            "crnet.data.dataset",
            "crnet.data.manifest",
            "crnet.data.store",
            "crnet.data.transforms",
            "crnet.data.prepare",
            "crnet.data.splits",
            "crnet.data.sources.dataset",
            "crnet.data.sources.open_dataset",
            "crnet.data.sources.archive_keys",
        ),
    ),
    "media": ApiPage(
        "Video, sound and faces",
        "Reading videos and tracking the face of the person, without the rest of the package.",
        ("crnet.media.reader", "crnet.media.face_tracking", "crnet.media.mtcnn", "crnet.media.settings"),
    ),
    "text": ApiPage("Text", "Text encoders and transcripts.", ("crnet.text.encoder_interface", "crnet.text.encoders")),
    "tables": ApiPage(
        "Tables of scores",
        "What `crnet predict --out` writes; a format of your own has the methods of `ScoreTable`.",
        ("crnet.score_tables.rows", "crnet.score_tables.line_files", "crnet.score_tables.open_table"),
    ),
    "train": ApiPage(
        "Train and fuse",
        "The whole training job, its configuration, and the fusion of the streams.",
        ("crnet.train", "crnet.config", "crnet.training.config", "crnet.fusion.fusion", "crnet.fusion.conformal"),
    ),
    "evaluate": ApiPage(
        "Evaluate, audit, explain",
        "Numbers about a system; the reports draw them.",
        (
            "crnet.evaluation.evaluate",
            "crnet.evaluation.evaluation",
            "crnet.audit.audit",
            "crnet.audit.clips",
            "crnet.explain.explain",
        ),
    ),
    "reports": ApiPage(
        "Reports",
        "The HTML pages, with their figures and tables.",
        (
            "crnet.report.run_report",
            "crnet.report.audit_page",
            "crnet.report.comparison_page",
            "crnet.report.video_report",
            "crnet.report.model_card",
        ),
    ),
    "simulate": ApiPage(
        "Synthetic people",
        "Datasets of synthetic people; [Simulated First Impressions](../../simulation.md) describes them.",
        ("crnet.simulate.planning", "crnet.simulate.write_dataset", "crnet.simulate.write_store"),
    ),
    "experiments": ApiPage(
        "Experiments",
        "Tables of your own; [Your own ablation](../../reproduce.md#your-own-ablation) shows one.",
        (
            "crnet.experiments.reproduce",
            "crnet.experiments.table_experiment",
            "crnet.experiments.config_overrides",
            "crnet.experiments.claims",
            "crnet.experiments.workspace",
        ),
    ),
    "bundle": ApiPage(
        "Bundles",
        "A trained system on disk: load, verify, save.",
        ("crnet.bundle.load", "crnet.bundle.save", "crnet.bundle.verify"),
    ),
}
"""The pages by file name, in the order of the navigation."""


def api_pages() -> dict[str, str]:
    """Return the Markdown of every page by path; `::: MODULE` is mkdocstrings' sign for the docstrings of a module."""
    rows = "\n".join(
        f"| [{page.title}]({name}.md) | {page.text.split(';')[0].rstrip('.')} |" for name, page in API_PAGES.items()
    )
    index = f"# Python\n\nThese pages are generated from the docstrings.\n\n| page | content |\n|---|---|\n{rows}\n"
    pages = {f"{FOLDER}/{name}.md": _page(page) for name, page in API_PAGES.items()}
    return {f"{FOLDER}/index.md": index, **pages}


def _page(page: ApiPage) -> str:
    return "\n\n".join([f"# {page.title}", page.text, *(f"::: {module}" for module in page.modules)]) + "\n"
