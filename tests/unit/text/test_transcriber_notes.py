from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnet.text.transcriber_notes import LONGEST_NOTE_CHARACTERS
from crnet.text.transcripts import clean_transcript, read_cues, read_transcript

SPEECH = "and then we went home to my mother who had been waiting there since the early morning"  # 85 characters

NOTES = {
    # notes in square brackets, whatever they say
    "a [you heard it all? 00:00:07] b": "a b",
    "a [inaudible 00:00:07] b [laughs] c": "a b c",
    "a[laughs]b": "a b",
    "a [two\nlines] b": "a b",
    "a [outer [inner] outer] b": "a b",
    "a [] b": "a b",
    # an opening bracket that is not closed
    "a [b": "a b",
    "a [inaudible b": "a b",
    "a [inaudible 00:00:07 b": "a b",
    "a [Inaudible 0:07 b": "a b",
    "a [00:00:07 b": "a b",
    "a [ music is my life": "a music is my life",
    "a [inaudibly b": "a inaudibly b",
    "at [10:30 we met": "at 10:30 we met",
    "a [inaudible b [laughs] c": "a b c",
    f"a [inaudible {SPEECH} laughs] c": f"a {SPEECH} laughs c",
    "a [": "a",
    # a closing bracket that was not opened
    "a b] c": "a b c",
    "a inaudible 00:00:07] b": "a b",
    "a 00:00:07] b": "a b",
    "at 10:30] we met": "at 10:30 we met",
    "a ] [ b": "a b",
    # round brackets hold a known note or the speaker's words
    "a (inaudible) b": "a b",
    "a (INAUDIBLE 00:00:07) b": "a b",
    "a (unintelligible) b (crosstalk) c": "a b c",
    "a (inaudible due to noise) b": "a b",
    "a (laughs) b ( laughter ) c (music 00:00:03) d": "a b c d",
    "a (00:00:07) b": "a b",
    "a (inaudible b": "a b",
    f"a (inaudible {SPEECH}) b": f"a {SPEECH}) b",
    "a (inaudible [00:00:07]) b": "a b",
    "a (really) b": "a (really) b",
    "a (the music) b (10:30) c": "a (the music) b (10:30) c",
    "a (laughs at me) b": "a (laughs at me) b",
    # the same words outside of brackets are the speaker's
    "it was inaudible, music and laughter": "it was inaudible, music and laughter",
    # nothing is left
    "[inaudible]": "",
    "(inaudible)": "",
    "[": "",
    "": "",
}


@pytest.mark.parametrize("text", NOTES)
def test_notes_are_removed_and_the_words_of_the_speaker_stay(text: str) -> None:
    assert clean_transcript(text) == NOTES[text]


def test_brackets_belong_together_up_to_the_length_of_a_note() -> None:
    longest = "x" * (LONGEST_NOTE_CHARACTERS - 2)
    assert clean_transcript(f"a [{longest}] b") == "a b"
    assert clean_transcript(f"a [{longest}x] b") == f"a {longest}x b"


@given(st.lists(st.sampled_from(["one", "two.", "10:30", "I'm", "(so)"])), st.sampled_from("[]"), st.data())
def test_brackets_without_a_partner_never_remove_a_word(words: list[str], bracket: str, data: st.DataObject) -> None:
    before = [data.draw(st.sampled_from(["", bracket, bracket + " "])) for _ in words]
    text = " ".join(mark + word for mark, word in zip(before, words, strict=True))
    assert clean_transcript(text) == " ".join(words)


def test_a_note_across_two_subtitles_is_removed_from_both(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    path.write_text(
        "1\n00:00:00,000 --> 00:00:01,000\nHello [crowd\n\n"
        "2\n00:00:01,000 --> 00:00:02,000\ncheering] there\n\n"
        "3\n00:00:02,000 --> 00:00:03,000\n(laughs)\n\n"
        "4\n00:00:03,000 --> 00:00:04,000\n[inaudible and&#10;then\n"
    )
    assert read_transcript(path) == "Hello there and then"
    assert [(cue.start_s, cue.text) for cue in read_cues(path)] == [(0, "Hello"), (1, "there"), (3, "and then")]


def test_subtitles_without_lines_have_no_cues(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    path.write_text("")
    assert read_cues(path) == ()
