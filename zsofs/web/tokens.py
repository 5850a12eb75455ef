"""The token of the web page, its sessions, and the limit of attempts to guess it."""

import hashlib
import hmac
import os
import secrets
import stat
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from zsofs.errors import FileError, reason
from zsofs.system.full_write import new_file

_BYTES = 24
_MOST = 4096
"""The longest token file that is read, in bytes."""

_SESSION_SECONDS = 30 * 24 * 3600

_ATTEMPTS, _SECONDS_PER_ATTEMPT = 10, 6.0
"""Wrong tokens that a client may send at once, and the time after which one more is allowed."""

_CLIENTS = 1024
"""Clients whose attempts are counted; the one that failed longest ago is forgotten first."""


def read_or_make(file: Path) -> str:
    """Return the token in a file; it is made, readable by this user only, if it does not exist.

    Raises:
        FileError: the file cannot be read or created, others can read it, or it has no token.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not file.exists():
            with suppress(FileExistsError):
                make(file)
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as opened:
            mode = os.fstat(fd).st_mode
            text = opened.read(_MOST)
    except OSError as error:
        raise FileError(f"the token file {file} cannot be used: {reason(error)}") from None
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise FileError(
            f"other users can read the token file {file}; restrict it with: chmod 600 {file}"
        )
    token = text.decode("ascii", errors="replace").strip()
    if len(token) < 16 or not token.isascii() or not token.isprintable():
        raise FileError(
            f"the token file {file} has no token of at least 16 ASCII characters; remove the file,"
            " and a new token is made at the next start"
        )
    return token


def make(file: Path) -> None:
    """Write a new token to a file that does not exist.

    Raises:
        OSError: it cannot be written.
    """
    unfinished = file.with_name(f".{file.name}.{secrets.token_hex(4)}.new")
    with new_file(unfinished, secrets.token_urlsafe(_BYTES) + "\n", 0o600):
        os.link(unfinished, file)  # fails if another process has made one meanwhile
    unfinished.unlink()


class Tokens:
    """Checks tokens and sessions; counts failed attempts.

    A session is a date with its HMAC by the token: it survives a restart, and a new token ends all.
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._key = hashlib.sha256(b"zsofs session " + self._token).digest()
        self._failed: OrderedDict[str, float] = OrderedDict()

    def is_right(self, found: str) -> bool:
        """Return whether it is the token, in a time that does not depend on how much is right."""
        return hmac.compare_digest(found.encode(errors="surrogatepass"), self._token)

    def may_try(self, client: str) -> bool:
        """Return whether a client may send a token: few of its last ones were wrong."""
        return self._failed.get(client, 0) - time.monotonic() < self._limit

    def failed(self, client: str) -> None:
        """Count a wrong token of a client."""
        begin = max(self._failed.pop(client, 0.0), time.monotonic())
        self._failed[client] = begin + _SECONDS_PER_ATTEMPT
        while len(self._failed) > _CLIENTS:
            self._failed.popitem(last=False)

    @property
    def _limit(self) -> float:
        return (_ATTEMPTS - 0.5) * _SECONDS_PER_ATTEMPT

    def session(self) -> tuple[str, int]:
        """Return the value of a new session, and for how many seconds it is valid."""
        return self._signed(int(time.time()) + _SESSION_SECONDS), _SESSION_SECONDS

    def is_session(self, found: str) -> bool:
        """Return whether it is a session that has not ended."""
        end, _, _ = found.partition(".")
        if not (end.isascii() and end.isdigit() and len(end) < 16):
            return False
        wanted = self._signed(int(end)).encode()
        is_ours = hmac.compare_digest(found.encode(errors="surrogatepass"), wanted)
        return is_ours and time.time() < int(end)

    def _signed(self, end: int) -> str:
        return f"{end}.{hmac.new(self._key, str(end).encode(), hashlib.sha256).hexdigest()}"
