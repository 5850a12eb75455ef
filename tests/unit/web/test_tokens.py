"""The token: its file, sessions, and the limit of attempts."""

import hmac
import os
import time
from pathlib import Path

import pytest

from zsofs.errors import FileError
from zsofs.web.tokens import Tokens, read_or_make


def test_a_token_is_made_once_for_this_user_only(tmp_path: Path) -> None:
    file = tmp_path / "zsofs" / "web-token"
    first = read_or_make(file)
    assert read_or_make(file) == first
    assert len(first) == 32
    assert os.stat(file).st_mode & 0o777 == 0o600
    assert os.stat(file.parent).st_mode & 0o777 == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["web-token"]


def test_a_file_that_others_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    read_or_make(file)
    file.chmod(0o640)
    with pytest.raises(FileError, match="other users can read"):
        read_or_make(file)


@pytest.mark.parametrize("text", ["", "short\n", "no ASCII, but long enough: é\n", "a" * 20 + "\0"])
def test_a_file_without_a_token(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(FileError, match="no token"):
        read_or_make(file)


def test_a_file_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot be used"):
        read_or_make(tmp_path / "file" / "token")


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    made = Tokens("a" * 20)
    assert made.is_right("a" * 20)
    assert not made.is_right("\udcff")
    assert len(compared) == 2
    session, _ = made.session()
    assert made.is_session(session)
    assert len(compared) == 3


def test_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Tokens("a" * 20)
    session, seconds = made.session()
    assert made.is_session(session)
    assert Tokens("a" * 20).is_session(session)  # after a restart
    assert not Tokens("b" * 20).is_session(session)  # after a new token
    end, _, mac = session.partition(".")
    later = f"{int(end) + 1}.{mac}"
    for wrong in ("", ".", later, f"{end}.", end, f"-1.{mac}", f"{'9' * 20}.{mac}", "é", "\udcff"):
        assert not made.is_session(wrong), wrong
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + seconds + 1)
    assert not made.is_session(session)


def test_few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    made = Tokens("a" * 20)
    tried = 0
    while made.may_try("one"):
        made.failed("one")
        tried += 1
    assert tried == 10
    assert made.may_try("another")
    now += 6.1
    assert made.may_try("one")
    made.failed("one")
    assert not made.may_try("one")
    now += 3600
    assert made.may_try("one")


def test_only_the_last_clients_are_remembered() -> None:
    made = Tokens("a" * 20)
    for client in range(5000):
        made.failed(str(client))
    assert len(made._failed) == 1024
