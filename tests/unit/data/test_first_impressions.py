from __future__ import annotations

import importlib.util
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from release_files import Keys, annotation, dictionary, encrypted, transcription, write_release, zipped

from crnet.data.sources.archives import Member
from crnet.data.sources.dataset import Dataset, Failure, VideoGroup
from crnet.data.sources.first_impressions import open_release
from crnet.data.sources.open_dataset import open_dataset
from crnet.errors import ArchiveError, LabelError


def no_keys(names: Sequence[str]) -> None:
    raise AssertionError(f"requested the key of {names}")


def read_all(dataset: Dataset, work: Path) -> dict[str, bytes]:
    """Return the contents of all videos by clip id, and delete the temporary archives as `prepare` does."""
    work.mkdir(exist_ok=True)
    contents = {}
    for group in dataset.video_groups(work):
        assert isinstance(group, VideoGroup), group
        for video in group.videos:
            assert video.clip_id not in contents
            place = video.location
            contents[video.clip_id] = place.read(1 << 20) if isinstance(place, Member) else place.read_bytes()
        for archive in group.temporary_archives:
            archive.unlink(missing_ok=True)
    assert list(work.iterdir()) == []
    return contents


CONTENTS = {"aB-1.001.mp4": b"video one", "aB-1.002.mp4": b"video two", "c_D2.000.mp4": b"video four"}


@pytest.mark.parametrize(
    "form",
    [{}, {"nested": True}, {"nested": True, "compression": zipfile.ZIP_DEFLATED}],
    ids=["unpacked", "nested stored zips", "nested compressed zips"],
)
def test_the_release_is_the_same_in_every_form(tmp_path: Path, form: dict[str, object]) -> None:
    scores = write_release(tmp_path / "fi", **form)  # type: ignore[arg-type]
    dataset = open_dataset(tmp_path / "fi", no_keys)
    assert dataset.source == "first-impressions-v2"
    assert read_all(dataset, tmp_path / "work") == CONTENTS
    assert {clip_id: clip.scores for clip_id, clip in dataset.clips.items()} == scores
    one, two, four = (dataset.clips[name] for name in CONTENTS)
    assert (one.split, two.split, four.split) == ("train", "train", "val")
    assert one.transcript == "I’m here again" and two.transcript == "" and four.transcript == ""
    assert one.groups == {"gender": "female", "ethnicity": "caucasian"}
    assert two.groups == {"gender": "male", "ethnicity": "african-american"}
    assert four.groups == {} and four.person is None


def test_scores_are_in_the_order_of_targets_whatever_the_order_in_the_file(tmp_path: Path) -> None:
    values = {"a.000.mp4": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)}
    for number, order in enumerate(
        (
            ("interview", "openness", "conscientiousness", "agreeableness", "neuroticism", "extraversion"),
            ("extraversion", "neuroticism", "agreeableness", "conscientiousness", "interview", "openness"),
        )
    ):
        root = tmp_path / str(number)
        root.mkdir()
        (root / "annotation_test.pkl").write_bytes(annotation(values, order))
        dataset = open_release(root, no_keys)
        assert dataset.clips["a.000.mp4"].scores == values["a.000.mp4"]
        assert dataset.clips["a.000.mp4"].split == "test"


def test_labels_are_found_in_nested_folders_and_zips(tmp_path: Path) -> None:
    write_release(tmp_path)
    training = (tmp_path / "annotation_training.pkl").read_bytes()
    (tmp_path / "annotation_training.pkl").unlink()
    (tmp_path / "train-annotation.zip").write_bytes(zipped({"a/b/annotation_training.pkl": training}))
    (tmp_path / "TRAIN" / "Annotation").mkdir()
    (tmp_path / "annotation_validation.pkl").rename(tmp_path / "TRAIN" / "Annotation" / "annotation_validation.pkl")
    assert set(open_dataset(tmp_path, no_keys).clips) == set(CONTENTS)


def test_one_archive_may_contain_the_whole_dataset(tmp_path: Path) -> None:
    write_release(tmp_path / "fi")
    files = {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in (tmp_path / "fi").rglob("*") if p.is_file()}
    (tmp_path / "all.zip").write_bytes(zipped(files, zipfile.ZIP_DEFLATED))
    dataset = open_dataset(tmp_path / "all.zip", no_keys)
    assert read_all(dataset, tmp_path / "work") == CONTENTS


@pytest.mark.skipif(importlib.util.find_spec("stream_unzip") is None, reason="stream-unzip is not installed")
def test_encrypted_archives_are_read_with_their_key(tmp_path: Path) -> None:
    root = tmp_path / "fi"
    write_release(root)
    inner = zipped({"eF.000.mp4": b"video five", "eF.001.mp4": b"video six"})
    (root / "test-1e.zip").write_bytes(encrypted({"test80_01.zip": inner}, "key1"))
    labels = annotation({"eF.000.mp4": (0.5,) * 6, "eF.001.mp4": (0.5,) * 6})
    (root / "test-annotation-e.zip").write_bytes(encrypted({"annotation_test.pkl": labels}, "key2"))
    dataset = open_dataset(root, Keys({"test-1e": "key1", "test-annotation-e": "key2"}))
    assert read_all(dataset, tmp_path / "work") == {**CONTENTS, "eF.000.mp4": b"video five", "eF.001.mp4": b"video six"}
    with pytest.raises(ArchiveError, match="the key for test-annotation-e is wrong") as caught:
        open_dataset(root, Keys({"test-1e": "key1", "test-annotation-e": "key1"}))
    assert caught.value.path == root / "test-annotation-e.zip"
    assert "CRNET_FIV2_KEY_TEST_ANNOTATION_E" in str(caught.value.remedy)


def test_locked_annotations_alone_are_an_error_that_names_their_variable(tmp_path: Path) -> None:
    labels = annotation({"eF.000.mp4": (0.5,) * 6})
    (tmp_path / "test-annotation-e.zip").write_bytes(encrypted({"annotation_test.pkl": labels}, "key"))
    with pytest.raises(ArchiveError, match="no key was given") as caught:
        open_dataset(tmp_path, Keys())
    assert caught.value.path == tmp_path / "test-annotation-e.zip"
    assert "CRNET_FIV2_KEY_TEST_ANNOTATION_E" in str(caught.value.remedy)


def test_a_damaged_inner_archive_fails_only_its_clips(tmp_path: Path) -> None:
    write_release(tmp_path / "fi")
    (tmp_path / "fi" / "train-2.zip").write_bytes(zipped({"training80_09.zip": b"damaged"}))
    dataset = open_dataset(tmp_path / "fi", no_keys)
    (tmp_path / "work").mkdir()
    groups = list(dataset.video_groups(tmp_path / "work"))
    (failure,) = (group for group in groups if isinstance(group, Failure))
    assert failure.path.endswith("train-2.zip/training80_09.zip") and "damaged" in failure.reason and failure.remedy
    assert sum(len(group.videos) for group in groups if isinstance(group, VideoGroup)) == 3


def test_archives_nested_too_deeply_are_refused(tmp_path: Path) -> None:
    write_release(tmp_path / "fi")
    content = zipped({"a.mp4": b"1"})
    for _ in range(5):
        content = zipped({"in.zip": content})
    (tmp_path / "fi" / "train-3.zip").write_bytes(content)
    (tmp_path / "work").mkdir()
    groups = list(open_dataset(tmp_path / "fi", no_keys).video_groups(tmp_path / "work"))
    assert any(isinstance(group, Failure) and "nested too deeply" in group.reason for group in groups)


def test_a_video_without_annotation_is_a_failure_except_the_known_one(tmp_path: Path) -> None:
    def failures() -> list[Failure]:
        groups = open_dataset(tmp_path / "fi", no_keys).video_groups(tmp_path / "work")
        return [group for group in groups if isinstance(group, Failure)]

    write_release(tmp_path / "fi")
    assert failures() == []
    (tmp_path / "fi" / "TRAIN" / "new.000.mp4").write_bytes(b"x")
    assert [(failure.clip, failure.reason) for failure in failures()] == [("new.000.mp4", "has no annotation")]


def test_a_damaged_outer_archive_is_a_failure_and_the_others_are_read(tmp_path: Path) -> None:
    write_release(tmp_path / "fi")
    (tmp_path / "fi" / "train-9.zip").write_bytes(b"PK\x03\x04 cut off")
    dataset = open_dataset(tmp_path / "fi", no_keys)
    (tmp_path / "work").mkdir(exist_ok=True)
    groups = list(dataset.video_groups(tmp_path / "work"))
    assert [Path(group.path).name for group in groups if isinstance(group, Failure)] == ["train-9.zip"]
    assert any(group.videos for group in groups if not isinstance(group, Failure))


def test_a_simulated_dataset_is_marked_and_names_its_persons(tmp_path: Path) -> None:
    write_release(tmp_path)
    (tmp_path / "simulated.json").write_text(json.dumps({"format": 1, "generator": "crnet simulate"}))
    (tmp_path / "persons.csv").write_text("VideoName;Person\naB-1.001.mp4;p7\naB-1.002.mp4;p7\n")
    dataset = open_dataset(tmp_path, no_keys)
    assert dataset.source == "simulated"
    assert [clip.person for clip in dataset.clips.values()] == ["p7", "p7", None]


GOOD = {"a.mp4": (0.5,) * 6}
BAD_LABELS = {
    "five targets": ("annotation_training.pkl", annotation(GOOD, ("extraversion", "neuroticism"))),
    "score above 1": ("annotation_training.pkl", annotation({"a.mp4": (0.5, 0.5, 1.5, 0.5, 0.5, 0.5)})),
    "score below 0": ("annotation_training.pkl", annotation({"a.mp4": (0.5, 0.5, 0.5, 0.5, 0.5, -0.1)})),
    "NaN": ("annotation_training.pkl", annotation({"a.mp4": (0.5, float("nan"), 0.5, 0.5, 0.5, 0.5)})),
    "in two splits": ("annotation_test.pkl", annotation({"aB-1.001.mp4": (0.5,) * 6})),
    "no dictionary of dictionaries": (
        "annotation_test.pkl",
        b"\x80\x02" + dictionary(dict.fromkeys(("extraversion",), b"K\x01")) + b".",
    ),
    "a text as score": (
        "annotation_test.pkl",
        annotation(GOOD).replace(b"G" + b"\x3f\xe0" + bytes(6), b"U\x01x", 1),
    ),
    "transcription no text": ("transcription_test.pkl", b"\x80\x02" + dictionary({"a.mp4": b"K\x01"}) + b"."),
    "runs code": ("transcription_test.pkl", b"\x80\x02cos\nsystem\nU\x04true\x85R."),
    "demographics without columns": ("eth_gender_annotations_test.csv", b"VideoName,Gender\na,1\n"),
    "demographics in no encoding": ("eth_gender_annotations_test.csv", b"VideoName;Gender;Ethnicity\n\xff\xfe;1;1\n"),
    "another copy that differs": ("other/annotation_training.pkl", annotation(GOOD)),
    "marker of another format": ("simulated.json", b'{"format": 2}'),
    "marker no json": ("simulated.json", b"{"),
}


@pytest.mark.parametrize("kind", BAD_LABELS)
def test_the_error_of_bad_labels_names_the_file(tmp_path: Path, kind: str) -> None:
    write_release(tmp_path)
    name, content = BAD_LABELS[kind]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LabelError) as caught:
        open_dataset(tmp_path, no_keys)
    assert caught.value.path is not None and tmp_path in caught.value.path.parents and caught.value.remedy
    assert len(str(caught.value).splitlines()) == 1


def test_a_clip_that_lacks_a_target_is_refused(tmp_path: Path) -> None:
    content = annotation({"a.mp4": (0.5,) * 6, "b.mp4": (0.5,) * 6})
    at = content.rindex(b"U\x05b.mp4")
    content = content[: at + 2] + b"c.mp4" + content[at + 7 :]
    (tmp_path / "annotation_training.pkl").write_bytes(content)
    with pytest.raises(LabelError, match="different clips") as caught:
        open_dataset(tmp_path, no_keys)
    assert caught.value.remedy


def test_equal_copies_of_labels_count_once(tmp_path: Path) -> None:
    write_release(tmp_path)
    (tmp_path / "labels.zip").write_bytes(
        zipped({"annotation_training.pkl": (tmp_path / "annotation_training.pkl").read_bytes()})
    )
    assert len(open_dataset(tmp_path, no_keys).clips) == 3


def test_a_release_without_annotation_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "train-1.zip").write_bytes(zipped({"a.mp4": b"x"}))
    (tmp_path / "transcription_training.pkl").write_bytes(transcription({"a.mp4": "x"}))
    with pytest.raises(LabelError, match="no annotation_training"):
        open_dataset(tmp_path, no_keys)
