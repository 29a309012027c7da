from __future__ import annotations

import io
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from release_files import Python2Numbers, annotation, dictionary, text, transcription

from crnet.data.sources import label_pickles
from crnet.data.sources.label_pickles import read_label_pickle
from crnet.errors import LabelError

SCORES = {"a.000.mp4": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), "b.000.mp4": (0.25, 0.5, 0.75, 1.0, 0.0, 63 / 90)}


def python3(document: object, protocol: int) -> bytes:
    file = io.BytesIO()
    pickle.Pickler(file, protocol).dump(document)
    return file.getvalue()


def test_an_annotation_written_by_python_2_loads() -> None:
    content = annotation(SCORES)
    assert b"numpy.core.multiarray" in content and content.startswith(b"\x80\x02")
    labels = read_label_pickle(content, "x.pkl")
    assert labels["interview"] == {"a.000.mp4": 0.6, "b.000.mp4": 63 / 90}
    assert labels["openness"]["b.000.mp4"] == 0.0
    assert list(labels) == [
        "extraversion", "neuroticism", "agreeableness", "conscientiousness", "interview", "openness"
    ]  # fmt: skip
    # Python's own unpickler reads the same, so the bytes of this test are right.
    expected = pickle.loads(content, encoding="latin1")
    assert expected == labels and isinstance(expected["interview"]["a.000.mp4"], np.float64)


def test_a_transcription_written_by_python_2_loads() -> None:
    labels = read_label_pickle(transcription({"a": "I’m here", "b": "", "c": "word " * 100}), "x.pkl")
    assert labels == {"a": "I’m here".encode().decode("latin1"), "b": "", "c": "word " * 100}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_a_pickle_written_by_python_3_loads(protocol: int, dtype: type) -> None:
    document = {"interview": {"a": dtype(0.25), "b": 0.5, "c": 1}, "text": {"a": "é ’"}}
    labels = read_label_pickle(python3(document, protocol), "x.pkl")
    assert labels == {"interview": {"a": float(dtype(0.25)), "b": 0.5, "c": 1}, "text": {"a": "é ’"}}


def test_big_endian_numbers_are_read() -> None:
    number = (
        Python2Numbers()
        .number(0.5)
        .replace(b"U\x01<", b"U\x01>")
        .replace(struct.pack("<d", 0.5), struct.pack(">d", 0.5))
    )
    assert read_label_pickle(b"\x80\x02" + dictionary({"a": number}) + b".", "x")["a"] == 0.5


class RunsSomething:
    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> object:
        return self.call


def hostile(tmp_path: Path) -> dict[str, bytes]:
    mark = tmp_path / "was_run"
    python2 = b"cos\nsystem\n" + text(f"touch '{mark}'") + b"\x85R"
    return {
        "os.system, Python 3": python3({"a": RunsSomething(os.system, f"touch '{mark}'")}, 2),
        "os.system, Python 2": b"\x80\x02" + dictionary({"a": python2}) + b".",
        "eval": python3({"a": RunsSomething(eval, f"open({str(mark)!r}, 'w')")}, 2),
        "getattr": python3({"a": RunsSomething(getattr, "", "upper")}, 2),
        "protocol 0": python3({"a": RunsSomething(os.system, f"touch '{mark}'")}, 0),
        "protocol 4": python3({"a": RunsSomething(os.system, f"touch '{mark}'")}, 4),
        "INST": b"(U\x05helloios\nsystem\n.",
        "other numpy name": b"\x80\x02cnumpy\nload\nU\x01x\x85R.",
        "numpy submodule": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n.",
        "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__init__\x93.",
        "object numbers": b"\x80\x02cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R.",
        "gigabyte numbers": b"\x80\x02cnumpy\ndtype\nU\x0bV1000000000K\x00K\x01\x87R.",
        "state of a function": b"\x80\x02cnumpy.core.multiarray\nscalar\nN}U\x08__code__Ns\x86b.",
        "state of the dtype class": b"\x80\x02cnumpy\ndtype\nN}U\x04codeNs\x86b.",
        "memo bomb": b"\x80\x02}r\xff\xff\xff\x7f.",
        "nested tuples": b"\x80\x02}" + b"N" + b"N\x86" * 100_000 + b"Ns.",
        "another encoding": b"\x80\x02c_codecs\nencode\nU\x01xU\x03hex\x86R.",
        "set": python3({1, 2}, 4),
        "list": python3({"a": [1]}, 2),
    }  # fmt: skip


@pytest.mark.parametrize("kind", list(hostile(Path("x"))))
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path: Path, kind: str) -> None:
    with pytest.raises(LabelError, match=r"refused|not a label file") as caught:
        read_label_pickle(hostile(tmp_path)[kind], "bad.pkl")
    assert caught.value.path == Path("bad.pkl") and caught.value.remedy
    assert list(tmp_path.iterdir()) == []
    assert (
        read_label_pickle(annotation(SCORES), "x.pkl")["interview"]["a.000.mp4"] == 0.6
    )  # reading still works as before


def test_pickle_itself_would_run_the_hostile_pickle(tmp_path: Path) -> None:
    pickle.loads(hostile(tmp_path)["os.system, Python 2"])
    assert (tmp_path / "was_run").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"no pickle", b"\x80\x02", annotation(SCORES)[:-30], b"\x80\x02N.", b"\x80\x02K\x01.",
        b"\x80\x02U\xff.", b"\x80\x02R.", b"\x80\x02}\x81.", b"\x80\x02h\x05.",
    ],
)  # fmt: skip
def test_damage_is_a_label_error(content: bytes) -> None:
    with pytest.raises(LabelError) as caught:
        read_label_pickle(content, "bad.pkl")
    assert caught.value.remedy


def test_a_huge_file_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_pickles, "LARGEST_PICKLE_BYTES", 100)
    with pytest.raises(LabelError, match="the limit is 100"):
        read_label_pickle(annotation(SCORES), "x.pkl")


def test_long_texts_load() -> None:
    assert text("x" * 300)[:1] == b"T"
    assert read_label_pickle(transcription({"a": "x" * 300}), "x")["a"] == "x" * 300
