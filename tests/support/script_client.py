"""What a script runs for zsofs: ``python -I -S script_client.py NAME MODULE ARGUMENTS``.

It asks `tests.support.script_server` for a fork that runs the command with the standard streams
and the directory of this process, passes signals on to it, and ends as it ends. Where a fork would
differ from what is executed, it executes the command. It imports what costs nothing.
"""

import _signal  # type: ignore[import-not-found] # the module signal takes 5 ms
import _socket
import os
import resource
import sys

_PASSED_ON = (
    *(_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT),
    *(_signal.SIGTERM, _signal.SIGUSR1, _signal.SIGUSR2),
)
_FIRST = 3  # descriptor behind the standard streams


def _run(name: str) -> int:
    """Have the command run; returns its exit code, negative for a signal."""
    directory = os.open(".", os.O_PATH)
    if directory < _FIRST:  # a standard stream is closed
        _execute()
    line = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        line.connect("\0" + name)
    except OSError:  # another network
        _execute()
    for number in _PASSED_ON:
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, lambda number, _: line.send(bytes([number])))
    fds = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (directory, 0, 1, 2))
    # No other user may ask for them. Numbers of limits are below 16.
    limits = [value for which in range(16) for value in resource.getrlimit(which)]
    data = b"".join(value.to_bytes(8, sys.byteorder, signed=True) for value in limits)
    line.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fds)])
    answer = line.recv(100)
    if answer == b"execute":
        _execute()
    return int(answer)


def _execute() -> None:
    words = sys.argv[2:]
    if words[0].startswith("/"):
        os.execv(words[0], words)
    os.execv(sys.executable, [sys.executable, "-m", *words])


if __name__ == "__main__":
    code = _run(sys.argv[1])
    if code < 0:
        _signal.signal(-code, _signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)
