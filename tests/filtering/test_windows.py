import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curator.errors import ConfigError
from curator.filtering.windows import WHOLE, Window, window_document, window_documents, window_text, windows_of
from curator.records import Document

QUICK = settings(deadline=None, max_examples=50)
pieces = st.sampled_from(
    ["word ", "Straße ", "längere Wörter, ", "字", "🧑‍🚀", "\n", "\n\n", "\r\n\r\n", "  \n \n", "x" * 50, "é"]
)
texts = st.lists(pieces, max_size=400).map("".join)


@QUICK
@given(texts, st.integers(64, 300))
@example("\n" * 1000, 64)
@example("x" * 1000, 64)
def test_windows_together_are_the_text_and_none_is_a_scrap(text, characters):
    windows = windows_of(text, characters)
    assert b"".join(text.encode()[window.start : window.end] for window in windows) == text.encode()
    assert [window.start for window in windows[1:]] == [window.end for window in windows[:-1]]
    parts = [window_text(text, window) for window in windows]
    assert "".join(parts) == text
    if len(text) <= 1.5 * characters:
        assert windows == [Window(WHOLE, 0, len(text.encode()))]
    else:
        assert [window.number for window in windows] == list(range(len(windows)))
        assert all(len(text) / len(windows) * 0.49 - 1 <= len(part) <= 1.5 * characters + 1 for part in parts)


def test_cuts_prefer_paragraphs_to_lines_and_lines_to_words():
    line = "some words that fill a line of text\n"
    paragraphs = (line * 3 + "\n") * 12
    assert all(part.text.endswith("\n\n") for _, part in window_documents(Document("d", paragraphs), 300))
    lines = line * 40
    assert all(part.text.endswith("text\n") for _, part in window_documents(Document("d", lines), 300))
    words = "plain words " * 100
    assert all(part.text.endswith("words ") for _, part in window_documents(Document("d", words), 333)[:-1])


def test_a_cut_falls_on_the_nearest_border():
    text = "a" * 95 + " " + "b" * 8 + " " + "c" * 95
    assert [part.text for _, part in window_documents(Document("d", text), 100)] == [text[:96], text[96:]]


def test_the_document_of_a_window_keeps_everything_but_id_and_text():
    document = Document("d", "some words here " * 40, "law", "book", {"page": 3})
    windows = windows_of(document.text, 200)
    for window, part in window_documents(document, 200):
        assert part == window_document(document, window)
        assert part.id == f"d#w{window.number}"
        assert (part.domain, part.source, part.metadata) == ("law", "book", {"page": 3})
    assert len(windows) == 4


def test_a_short_document_stays_itself():
    document = Document("d", "short")
    assert window_documents(document, 64) == [(Window(WHOLE, 0, 5), document)]
    assert window_document(document, Window(WHOLE, 0, 5)) is document


def test_windows_too_short_to_score_are_refused():
    with pytest.raises(ConfigError, match="at least 64"):
        windows_of("text", 63)
