"""What a mount that fails prints, and the exit code; and whether two paths lead to one file."""

import os
from pathlib import Path

import pytest

from zsofs.console.logging_setup import exit_code_of
from zsofs.errors import BadDiscError, SystemFailureError
from zsofs.system.same_file import same_file

FAILURES = [
    (BadDiscError("two discs are bad"), BadDiscError.exit_code, "zsofs: two discs are bad\n"),
    (
        OSError(5, "Input/output error"),
        SystemFailureError.exit_code,
        f"zsofs: {SystemFailureError(OSError(5, 'Input/output error'))}\n",
    ),
    (
        ValueError("a\nfault"),
        1,
        "zsofs: internal error, the mount has stopped: ValueError: a fault;",
    ),
]


@pytest.mark.parametrize(("error", "code", "text"), FAILURES)
def test_a_failure_is_one_line(
    capfd: pytest.CaptureFixture[str], error: Exception, code: int, text: str
) -> None:
    def fail() -> int:
        raise error

    assert exit_code_of(fail) == code
    printed = capfd.readouterr().err
    assert text in printed
    assert "Traceback" not in printed.split(text)[-1]


def test_the_exit_code_of_what_does_not_fail() -> None:
    assert exit_code_of(lambda: 7) == 7


def test_an_interrupt_is_not_caught() -> None:
    def interrupt() -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exit_code_of(interrupt)


def test_two_paths_to_one_file(tmp_path: Path) -> None:
    file, other, link, hard = (tmp_path / name for name in ("file", "other", "link", "hard"))
    file.touch()
    other.touch()
    link.symlink_to(file)
    os.link(file, hard)
    assert same_file(file, link)
    assert same_file(str(file), hard)
    assert not same_file(file, other)
    assert not same_file(file, tmp_path / "missing")
    assert not same_file(tmp_path / "missing", tmp_path / "missing")
    assert not same_file(file / "below", file)
