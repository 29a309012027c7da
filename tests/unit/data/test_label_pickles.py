from __future__ import annotations

import dataclasses
import io
import os
import pickle
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from release_files import Python2Numbers, annotation, dictionary, text, transcription

from crnet.data.sources import label_pickles
from crnet.data.sources.label_pickles import read_label_pickle
from crnet.errors import LabelError
from crnet.utils.process_memory import peak_mib, reset_peak

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


def put(number: int) -> bytes:
    return b"r" + struct.pack("<I", number)


def get(number: int) -> bytes:
    return b"j" + struct.pack("<I", number)


def smuggled_tuple(levels: int, *, doubled: bool) -> bytes:
    """A dictionary key that is a tuple; it reaches the memo as the state of a dtype, and then contains itself."""
    start = b"\x80\x02}" + text("a") + b"cnumpy\ndtype\nU\x02f8K\x00K\x01\x87RNN\x86" + put(0) + b"b"
    tuples = (
        get(level) + (get(level) if doubled else b"N") + b"\x86" + put(level + 1) + b"b" for level in range(levels)
    )
    return start + b"".join(tuples) + b"s" + get(levels) + b"K\x01s."


def shared_dictionaries(levels: int) -> bytes:
    """A dictionary whose repr has 2^levels parts."""
    content = b"\x80\x02}(" + text("x") + b"}" + put(0)
    for level in range(levels):
        content += text("y") + b"}(" + text("1") + get(level) + text("2") + get(level) + b"u" + put(level + 1)
    return content + text("openness") + b"}" + text("a.mp4") + get(levels) + b"su."


def nested_dictionaries(depth: int) -> bytes:
    return b"\x80\x02" + (b"}" + text("a")) * depth + b"K\x01" + b"s" * depth + b"."


ATTACKS = {
    "a tuple of twice a tuple": (smuggled_tuple(40, doubled=True), "repeats an object"),
    "400,000 tuples inside one another": (smuggled_tuple(400_000, doubled=False), "repeats an object"),
    "dictionaries that share one another": (shared_dictionaries(40), "repeats an object"),
    "900 dictionaries inside one another": (nested_dictionaries(900), "more than 2 dictionaries"),
    "3 dictionaries inside one another": (nested_dictionaries(3), "more than 2 dictionaries"),
    "a million dictionaries": (b"\x80\x02" + b"}" * (1 << 20) + b".", "more than 1000 dictionaries"),
    "numbers without an end": (b"\x80\x02}(" + b"K\x01" * 5_000_000 + b"u.", "more than 4000000 instructions"),
    "a number that is a key": (b"\x80\x02}K\x01K\x01s.", "a key that is a int"),
    "a tuple that is a key": (b"\x80\x02}K\x01\x85K\x01s.", "a key that is a tuple"),
    "a type that is a key": (b"\x80\x02}cnumpy\ndtype\nU\x02f8\x85RK\x01s.", "a key that is a _Dtype"),
    "a type that is a value": (b"\x80\x02}U\x01acnumpy\ndtype\nU\x02f8\x85Rs.", "contains a _Dtype"),
    "a function that is a value": (b"\x80\x02}U\x01acnumpy\ndtype\ns.", "contains a function"),
    "a truth value": (b"\x80\x02}U\x01a\x88s.", "contains a bool"),
    "bytes": (b"\x80\x03}U\x01aC\x01xs.", "contains a bytes"),
    "a clip twice": (b"\x80\x02}(U\x01aK\x01U\x01aK\x00u.", "names 'a' twice"),
    "a dictionary twice": (b"\x80\x02}(U\x01a}q\x01U\x01bh\x01u.", "repeats an object"),
    "a list": (b"\x80\x02}U\x01a]s.", "uses the instruction EMPTY_LIST"),
    "protocol 0": (b"(dp0\nS'a'\nI1\ns.", "uses the instruction DICT"),
}


@pytest.mark.parametrize("kind", ATTACKS)
def test_an_attack_is_refused_in_little_time_and_memory(kind: str) -> None:
    content, reason = ATTACKS[kind]
    started_s = time.process_time()
    had_reset = reset_peak()
    before_mib = peak_mib()
    with pytest.raises(LabelError, match="refused: .*" + reason) as caught:
        read_label_pickle(content, "bad.pkl")
    assert caught.value.path == Path("bad.pkl") and len(str(caught.value)) < 400
    assert time.process_time() - started_s < 60
    if had_reset:
        assert peak_mib() - before_mib < 100


def test_the_limits_admit_ten_thousand_clips_of_numpy_numbers_with_room_to_spare(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each clip name and number is pickled anew, as cPickle does with objects that are not shared."""
    clips, targets = 10_000, 6
    numbers = Python2Numbers()
    first, later = numbers.number(0.25), numbers.number(0.25)
    items = [text(f"{clip:011d}.000.mp4") + b"r\xff\xff\x00\x00" + later for clip in range(1, clips)]
    column = b"}(" + text("first.mp4") + first + b"".join(items) + b"u"
    content = b"\x80\x02}(" + b"".join(text(f"target {number}") + column for number in range(targets)) + b"u."
    for name in ("instructions", "memo"):
        limits = dataclasses.replace(label_pickles._LIMITS, **{name: getattr(label_pickles._LIMITS, name) // 4})
        monkeypatch.setattr(label_pickles, "_LIMITS", limits)
    labels = read_label_pickle(content, "x.pkl")
    assert len(labels) == targets and all(len(labels[name]) == clips for name in labels)
    assert set(labels["target 5"].values()) == {0.25}


def test_a_huge_file_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_pickles, "LARGEST_PICKLE_BYTES", 100)
    with pytest.raises(LabelError, match="the limit is 100"):
        read_label_pickle(annotation(SCORES), "x.pkl")


def test_long_texts_load() -> None:
    assert text("x" * 300)[:1] == b"T"
    assert read_label_pickle(transcription({"a": "x" * 300}), "x")["a"] == "x" * 300
