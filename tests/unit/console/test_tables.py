"""Columns, sizes and times as text."""

import pytest

from zsofs.console.tables import counted, duration, printable, size, table, width


def test_columns() -> None:
    rows = [("disc", "size"), ("Okami", "4.37 GB"), ("a", "1 B")]
    assert table(rows, "lr") == [
        "disc      size",
        "Okami  4.37 GB",
        "a          1 B",
    ]
    assert table(rows, "rl") == [
        " disc  size",
        "Okami  4.37 GB",
        "    a  1 B",
    ]
    assert table([("a", ""), ("", "")], "ll") == ["a", ""]
    assert table([], "ll") == []


def test_rows_must_fit_the_columns() -> None:
    with pytest.raises(ValueError, match="zip"):
        table([("a", "b"), ("c",)], "ll")
    with pytest.raises(ValueError, match="zip"):
        table([("a", "b")], "l")


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("", 0),
        ("Okami", 5),
        ("\N{CJK UNIFIED IDEOGRAPH-5927}\N{CJK UNIFIED IDEOGRAPH-795E}", 4),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER A}", 2),
        ("\N{HALFWIDTH KATAKANA LETTER A}", 1),
        ("e\N{COMBINING ACUTE ACCENT}", 1),
        ("\N{LATIN SMALL LETTER E WITH ACUTE}", 1),
        ("\udcff", len(r"\udcff")),
        ("\udcff\N{CJK UNIFIED IDEOGRAPH-5927}", len(r"\udcff") + 2),
        ("\N{HANGUL CHOSEONG HIEUH}\N{HANGUL JUNGSEONG A}\N{HANGUL JONGSEONG NIEUN}", 2),
        ("\N{HEAVY BLACK HEART}\N{VARIATION SELECTOR-16}", 2),
    ],
)
def test_width_on_a_terminal(text: str, columns: int) -> None:
    assert width(text) == columns
    (line, _) = table([(text, "|"), ("-" * 20, "|")], "ll")
    assert line == text + " " * (22 - columns) + "|"


def test_control_characters_are_escaped() -> None:
    assert printable("Okami \N{SNOWMAN}\n\x1b[31m\u202e") == "Okami \N{SNOWMAN}\\n\\x1b[31m\\u202e"
    assert printable("\udcff") == "\udcff"
    assert printable("\ud800\n") == "\\ud800\\n"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (9_994, "9.99 kB"),
        (9_996, "10.0 kB"),
        (99_949, "99.9 kB"),
        (99_960, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (67_108_864, "67.1 MB"),
        (4_370_000_000, "4.37 GB"),
        (702_000_000_000, "702 GB"),
        (999_600_000_000, "1.00 TB"),
        (1_210_000_000_000, "1.21 TB"),
        (1 << 63, "9.22 EB"),
        (10**22, "10000 EB"),
        (-5, "-5 B"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0.9, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (12 * 60 + 59, "12 min"),
        (3_600, "1 h"),
        (3_600 + 59, "1 h"),
        (2 * 3_600 + 300, "2 h 5 min"),
        (86_400, "1 d"),
        (86_400 + 300, "1 d"),
        (3 * 86_400 + 4 * 3_600 + 59 * 60, "3 d 4 h"),
        (1_000 * 86_400, "1000 d"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts() -> None:
    assert counted(0, "disc") == "0 discs"
    assert counted(1, "disc") == "1 disc"
    assert counted(1234, "disc") == "1,234 discs"
