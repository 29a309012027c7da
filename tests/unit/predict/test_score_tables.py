"""Tables of scores: what is done is skipped, a kill leaves nothing half-written, each clip has one row."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
from fake_reader import fake_read

import crnet
from crnet.batch import Scoring
from crnet.bundle.bundle import Bundle
from crnet.cli.main import main
from crnet.data.score_sources import ScoreSource, list_sources
from crnet.data.watched_folder import WatchedFolder
from crnet.errors import FormatError, LabelError, StorageError, UsageError
from crnet.predict import Predictor
from crnet.score_batch import BatchReport, TableRun, score_to_table
from crnet.score_tables import parquet, sqlite
from crnet.score_tables.open_table import open_score_table
from crnet.score_tables.rows import COLUMNS, ScoreRow
from crnet.types import TARGETS, Prediction
from crnet.utils.executors import Executor
from crnet.utils.storage import as_path

NAMES = ["scores.csv", "scores.jsonl", "scores.parquet", "sqlite:///scores.db"]
each_format = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read_rows(name: str) -> list[dict[str, Any]]:
    """Return the rows as a reader of the format sees them, in the order of the clips."""
    if name.endswith(".csv"):
        frame = pandas.read_csv(name)
    elif name.endswith(".jsonl"):
        frame = pandas.DataFrame([json.loads(line) for line in Path(name).read_text().splitlines()])
    elif name.endswith(".parquet"):
        frame = pandas.read_parquet(name)
    else:
        frame = pandas.read_sql("SELECT * FROM scores", sqlite3.connect(name.removeprefix("sqlite:///")))
    return frame.sort_values(["clip", "scored_at"]).to_dict("records")


def row(clip: str, error: str | None = None, model: str = "m", inputs: str = "") -> ScoreRow:
    scores = None if error else dict.fromkeys(TARGETS, 0.1 + 0.2)
    prediction = Prediction(clip, 1.5, scores, error=error)
    return ScoreRow(prediction, model, "0.1", "2026-01-31T02:00:00Z", 0.25, "ab" * 32, inputs or f"of {clip}")


def add(name: str, *rows: ScoreRow, clips: tuple[str, ...] = (), model: str = "m") -> dict[str, frozenset[str]]:
    """Add rows in a run of `clips`; return what the table held of the model before."""
    with open_score_table(name, model, clips) as (table, done):
        before = dict(done.inputs)
        for each in rows:
            table.append(each)
    return before


@each_format
def test_a_table_holds_every_row_and_says_what_is_done(name: str) -> None:
    odd = '=cmd("a,\nb").mp4'
    assert add(name, row("a.mp4"), row(odd), row("c.mp4", model="old")) == {}
    assert add(name) == {"a.mp4": {"of a.mp4"}, odd: {f"of {odd}"}}
    rows = {each["clip"].lstrip("'"): each for each in read_rows(name)}
    assert set(rows) == {"a.mp4", odd, "c.mp4"}
    for each in rows.values():
        scores = each["scores"] if name.endswith("jsonl") else each
        assert (scores["interview"], each["seconds"], each["file_sha256"]) == (0.1 + 0.2, 0.25, "ab" * 32)
        assert (each["crnet_version"], each["scored_at"]) == ("0.1", "2026-01-31T02:00:00Z") or name.endswith("csv")
    assert rows["c.mp4"]["model_fingerprint"] == "old"
    if name.endswith("csv"):
        assert "'=cmd" in Path(name).read_text()  # no spreadsheet runs it


@each_format
def test_a_failed_clip_is_tried_again_only_by_a_run_that_names_it(name: str) -> None:
    add(name, row("a.mp4", "not a video"), row("b.mp4", "not a video"), row("c.mp4"))
    before = add(name, row("a.mp4"), clips=("a.mp4", "c.mp4"))
    assert before == {"b.mp4": {"of b.mp4"}, "c.mp4": {"of c.mp4"}}
    rows = read_rows(name)
    assert [each["clip"] for each in rows] == ["a.mp4", "b.mp4", "c.mp4"]
    assert [isinstance(each["error"], str) and each["error"] != "" for each in rows] == [False, True, False]


@pytest.mark.parametrize("name", NAMES[:3])
@pytest.mark.parametrize("lost_bytes", [1, 30, 100])
def test_a_half_written_row_is_removed_and_the_rows_before_stay(name: str, lost_bytes: int) -> None:
    with open_score_table(name, "m", ()) as (table, _):
        table.append(row("a\n.mp4"))
        table.append(row('b"\n.mp4'))
        path = next(Path(name).glob(".rows*")) if name.endswith("parquet") else Path(name)
        content = path.read_bytes()
    if name.endswith("parquet"):
        next(Path(name).glob("part*")).unlink()
    path.write_bytes(content[:-lost_bytes])
    assert add(name, row("c.mp4")) == {"a\n.mp4": {"of a\n.mp4"}}
    assert [each["clip"] for each in read_rows(name)] == ["a\n.mp4", "c.mp4"]


@pytest.mark.parametrize("content", [b"", b"clip,dur"])
def test_a_csv_without_a_whole_header_starts_anew(content: bytes) -> None:
    Path("scores.csv").write_bytes(content)
    assert add("scores.csv", row("a.mp4")) == {}
    with Path("scores.csv").open(newline="") as file:
        assert [tuple(each)[:1] for each in csv.reader(file)] == [("clip",), ("a.mp4",)]


def test_a_journal_that_became_a_part_is_not_added_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS_PER_PART", 2)
    with open_score_table("t.parquet", "m", ()) as (table, _):
        table.append(row("a.mp4"))
        journal = next(Path("t.parquet").glob(".rows*"))
        content = journal.read_bytes()
        table.append(row("b.mp4"))
        table.append(row("c.mp4"))
        journal.write_bytes(content)  # as if the run had been killed between writing the part and deleting the journal
    assert add("t.parquet").keys() == {"a.mp4", "b.mp4", "c.mp4"}
    assert sorted(path.name for path in Path("t.parquet").iterdir()) == ["part-000001.parquet", "part-000002.parquet"]
    assert [each["clip"] for each in read_rows("t.parquet")] == ["a.mp4", "b.mp4", "c.mp4"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("s.csv", b"clip,extraversion\na.mp4,0.5\n", "has other columns than this version writes"),
        ("s.csv", (",".join(COLUMNS) + "\na.mp4,0.5\n").encode(), "row 1 has 2 cells instead of"),
        ("s.jsonl", b'{"clip": "a"}\n', "line 1 is not a row of scores"),
        ("s.jsonl", b"[" * 100_000 + b"\n", "line 1 is not a row of scores"),
        ("s.parquet", b"PAR1", "is a file"),
        ("sqlite:///s.db", b"not a database, but long enough to look like one" * 99, "is not an SQLite database"),
        ("s.xlsx", b"", "no format of scores is called 's.xlsx'.*ends with .csv"),
        ("https://a/s.csv", None, "no format of scores"),
        ("sqlite:///", None, "no format of scores"),
    ],
)
def test_another_table_is_refused_and_stays_as_it_is(name: str, content: bytes | None, reason: str) -> None:
    path = Path(name.removeprefix("sqlite:///"))
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((FormatError, UsageError), match=reason):
        add(name, row("a.mp4"))
    assert content is None or path.read_bytes() == content


def test_a_second_run_on_the_same_table_is_refused() -> None:
    with open_score_table("s.csv", "m", ()) as _, pytest.raises(UsageError, match=r"s\.csv: another run writes here"):
        add("s.csv")
    add("s.csv")


def test_a_database_that_another_program_holds_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sqlite.LOCK_TIMEOUT_S >= 60
    monkeypatch.setattr(sqlite, "LOCK_TIMEOUT_S", 0.05)
    add("sqlite:///s.db", row("a.mp4"))
    other = sqlite3.connect("s.db")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageError, match=r"database is locked.*another program holds it"):
        add("sqlite:///s.db", row("b.mp4"))
    other.close()
    add("sqlite:///s.db", row("b.mp4"))
    assert [cells["clip"] for cells in read_rows("sqlite:///s.db")] == ["a.mp4", "b.mp4"]


# Whole runs, with a reader for which the content of a file decides what happens.


@pytest.fixture
def run(bundle: Bundle) -> TableRun:
    return TableRun(Scoring(lambda: Predictor(bundle)), "m", executor=Executor(0), read=fake_read)


def write(contents: dict[str, str]) -> None:
    Path("videos").mkdir(exist_ok=True)
    for name, content in contents.items():
        Path("videos", name).write_text(content)


def score(run: TableRun, name: str = "s.jsonl") -> BatchReport:
    return score_to_table(run, list_sources(["videos"]), name)


def test_only_new_changed_and_failed_clips_are_scored_again(run: TableRun) -> None:
    write({"a.mp4": "1", "b.mp4": "22", "c.mp4": "bad"})
    failure = {"videos/c.mp4": "videos/c.mp4: not a video (give a video)"}
    assert score(run) == BatchReport(2, 0, failure)
    assert score(run) == BatchReport(0, 2, failure)
    write({"b.mp4": "333", "c.mp4": "4444"})
    assert score(run) == BatchReport(2, 1, {})
    Path("videos", "a.txt").write_text("hello there")  # other words give other scores
    assert score(run) == BatchReport(1, 2, {})
    clips = [each["clip"] for each in read_rows("s.jsonl")]
    assert clips == ["videos/a.mp4"] * 2 + ["videos/b.mp4"] * 2 + ["videos/c.mp4"]


def test_another_model_or_option_scores_all_clips(run: TableRun) -> None:
    write({"a.mp4": "1"})
    assert score(run).scored == 1
    for changes in ({"model": "n"}, {"options": "precision bfloat16"}, {"allow_no_face": True}):
        other = TableRun(**{**vars(run), **changes})
        assert (score(other).scored, score(other).skipped) == (1, 1)


def test_rows_name_model_version_time_and_file(run: TableRun) -> None:
    write({"a.mp4": "1"})
    score(run, "s.csv")
    (each,) = read_rows("s.csv")
    assert each["file_sha256"] == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"  # of "1"
    assert (each["model_fingerprint"], each["crnet_version"]) == ("m", crnet.__version__)
    assert each["scored_at"].endswith("Z") and each["seconds"] > 0


def test_a_csv_lists_clips_and_transcripts(run: TableRun) -> None:
    write({"a.mp4": "1", "b.mp4": "22", "b.txt": "beside"})
    Path("videos", "list.csv").write_text("clip,transcript\na.mp4,b.txt\nb.mp4,\nnowhere.mp4,x\n")
    sources = list_sources([Path("videos", "list.csv")])
    assert [(source.clip, source.path) for source in sources] == [
        (name, Path("videos", name)) for name in ("a.mp4", "b.mp4", "nowhere.mp4")
    ]
    assert sources[0].transcript is not None and sources[0].transcript.text == "b.txt"  # type: ignore[union-attr]
    report = score_to_table(run, sources, "s.csv")
    assert (report.scored, list(report.failures)) == (2, ["nowhere.mp4"])
    with pytest.raises(UsageError, match=r"two videos are called a\.mp4"):
        Path("a.mp4").touch()
        list_sources(["a.mp4", Path("videos", "list.csv")])
    Path("bad.csv").write_text("name\na.mp4\n")
    with pytest.raises(LabelError, match="has no column clip"):
        list_sources(["bad.csv"])


def test_videos_and_csvs_may_be_in_object_storage(run: TableRun, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = as_path("memory://nightly/videos")
    for name, content in {"a.mp4": "1", "b.mp4": "bad", "list.csv": "clip,transcript\na.mp4,hello\n"}.items():
        (folder / name).put(content.encode())  # type: ignore[attr-defined]
    sources = list_sources([str(folder), str(folder / "list.csv"), "memory://nowhere/c.mp4"])
    assert [source.clip for source in sources] == [
        f"{folder}/a.mp4",
        f"{folder}/b.mp4",
        "a.mp4",
        "memory://nowhere/c.mp4",
    ]
    failures = {
        f"{folder}/b.mp4": f"{folder}/b.mp4: not a video (give a video)",
        "memory://nowhere/c.mp4": "memory://nowhere/c.mp4: there is no bucket nowhere (check its name, and the account "
        "and the address of the storage)",
    }
    monkeypatch.setattr(tempfile, "tempdir", "copies")
    assert score_to_table(run, sources, "s.csv") == BatchReport(2, 0, failures)
    assert not list(Path("copies").iterdir())  # no copy of a video is left
    assert score_to_table(run, sources, "s.csv") == BatchReport(0, 2, failures)
    assert [row["file_sha256"][:8] for row in read_rows("s.csv") if row["clip"].endswith("a.mp4")] == ["6b86b273"] * 2


def watch(monkeypatch: pytest.MonkeyPatch, *polls: Callable[[], object]) -> None:
    """Do the next of `polls` whenever the watcher waits, and then stop it as Ctrl-C does."""
    left = list(polls)

    def wait(_: float) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop(0)()

    monkeypatch.setattr("crnet.data.watched_folder.time.sleep", wait)


def offered(folder: WatchedFolder, *sources: ScoreSource) -> list[list[str]]:
    """Return the names of the videos of each batch until the watcher is stopped."""
    found: list[list[str]] = []
    with pytest.raises(KeyboardInterrupt):
        for batch in folder.batches(sources):
            found.append([source.path.name for source in batch])
    return found


def nothing() -> None: ...


def test_a_watched_video_is_offered_when_it_no_longer_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    write({})
    watch(
        monkeypatch,
        lambda: write({"a.mp4": "1"}),
        lambda: write({"a.mp4": "12", "notes.txt": "x"}),
        nothing,
        lambda: write({"b.mp4": "1"}),
        nothing,
        nothing,
        lambda: write({"a.mp4": "123"}),
        nothing,
    )
    assert offered(WatchedFolder(Path("videos"))) == [["a.mp4"], ["b.mp4"], ["a.mp4"]]


def test_a_transcript_that_comes_after_its_video_offers_the_video_again(monkeypatch: pytest.MonkeyPatch) -> None:
    write({"a.b.mp4": "1", "c.mp4": "1"})
    watch(monkeypatch, nothing, lambda: write({"a.b.en.srt": "1"}), lambda: write({"a.b.en.srt": "12"}), nothing)
    assert offered(WatchedFolder(Path("videos"))) == [["a.b.mp4", "c.mp4"], ["a.b.mp4"]]


def test_a_source_in_the_watched_folder_is_offered_again_only_if_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    write({"a.mp4": "1", "b.mp4": "1"})
    watch(monkeypatch, nothing, lambda: write({"b.mp4": "12"}), nothing)
    assert offered(WatchedFolder(Path("videos")), *list_sources(["videos"])) == [["a.mp4", "b.mp4"], ["b.mp4"]]


def test_a_watcher_warns_of_a_special_file_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write({})
    Path("videos", "broken.mp4").symlink_to("nowhere")
    watch(monkeypatch, nothing, nothing)
    assert offered(WatchedFolder(Path("videos"))) == []
    assert caplog.text.count("broken.mp4 is skipped") == 1


@each_format
def test_a_stalled_copy_that_goes_on_leaves_one_row(name: str, run: TableRun, monkeypatch: pytest.MonkeyPatch) -> None:
    write({"a.mp4": "bad", "b.mp4": "1", "again.mp4": "bad"})
    score_to_table(run, list_sources(["videos/again.mp4"]), name)
    Path("videos", "again.mp4").unlink()  # it is not there when the watcher starts
    watch(
        monkeypatch,
        nothing,
        lambda: write({"a.mp4": "4444", "again.mp4": "bad"}),
        nothing,
        lambda: write({"again.mp4": "22"}),
        nothing,
    )
    printed: list[tuple[str, bool]] = []
    with pytest.raises(KeyboardInterrupt):
        score_to_table(
            run, [], name, watch=Path("videos"), report=lambda each: printed.append((each.clip, not each.error))
        )
    tries = [("a", False), ("b", True), ("a", True), ("again", False), ("again", True)]
    assert printed == [(f"videos/{clip}.mp4", is_scored) for clip, is_scored in tries]
    rows = read_rows(name)
    assert [each["clip"] for each in rows] == ["videos/a.mp4", "videos/again.mp4", "videos/b.mp4"]
    assert not any(isinstance(each["error"], str) and each["error"] for each in rows)
    assert score(run, name) == BatchReport(0, 3, {})


def test_a_watcher_tells_of_each_failure_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def score_until_stopped(*_: object, report: Callable[[Prediction], None], **__: object) -> None:
        report(row("a.mp4").prediction)
        report(row("b.mp4", "b\x1b[2K\n.mp4: not a video").prediction)
        raise KeyboardInterrupt

    monkeypatch.setattr("crnet.score_batch.score_to_table", score_until_stopped)
    monkeypatch.setattr("crnet.score_batch.model_fingerprint", lambda run: "m")
    write({})
    assert main(["predict", "run", "--watch", "videos", "--out", "s.csv"]) == 130
    assert capsys.readouterr().err.splitlines()[0] == r"failed: b\x1b[2K\n.mp4: not a video"


SCRIPT = """
import os, sys
from pathlib import Path
from crnet.batch import ReadJob, ScoredVideo
from crnet.data.score_sources import ScoreSource, list_sources
from crnet.data.watched_folder import WatchedFolder
from crnet.score_batch import TableRun, score_to_table
from crnet.types import TARGETS, Prediction
from crnet.utils.executors import Executor
from fake_reader import fake_read

class Scoring:
    def system(self): return self
    def media_settings(self): return None
    def __call__(self, job, read):
        scores = dict.fromkeys(TARGETS, int(job.source.path.read_text()) / 100)
        known = not read.reason and read.clip is None
        return ScoredVideo(None if known else Prediction(job.source.clip, 1.0, scores), 0.0, read.file_sha256,
                           read.input_fingerprint)

count = 0
def stop(prediction):
    global count
    count += 1
    if count == int(sys.argv[2]):
        os.kill(os.getpid(), 9)

score_to_table(TableRun(Scoring(), "m", executor=Executor(0), read=fake_read), list_sources(["videos"]), sys.argv[1],
               report=stop)
"""


@pytest.mark.parametrize("name", ["scores.csv", "scores.parquet"])
def test_a_kill_costs_no_row_and_no_clip_has_two(name: str) -> None:
    write({f"{number}.mp4": str(number) for number in range(10, 19)})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for last, expected in ((4, 4), (0, 9)):
        command = [sys.executable, "-c", SCRIPT, name, str(last)]
        assert subprocess.run(command, env=environment, check=False).returncode == (-9 if last else 0)
        if not name.endswith("parquet") or not last:  # a journal becomes a part when the next run ends
            assert len(read_rows(name)) == expected
    rows = [(each["clip"], each["interview"]) for each in read_rows(name)]
    assert rows == [(f"videos/{number}.mp4", number / 100) for number in range(10, 19)]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--csv", "a.csv"], "has no option --csv (did you mean --out?)"),
        (["--watch", "folder"], "--watch needs a table to add to (give --out FILE)"),
        (["--out", "a.txt"], "no trained system here"),
    ],
)
def test_options_of_tables_are_checked(words: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("run").mkdir()
    assert main(["predict", "run", "a.mp4", *words]) == 2
    assert reason in capsys.readouterr().err
