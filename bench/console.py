"""A console that reads a disc over SMB1, 8 KiB a request, in a process of its own.

Run it as ``python -m bench.console PORT SHARE PATH START SIZE``. It prints a JSON object with the
seconds that all requests took together, the 99th percentile and the longest.
"""

import json
import sys
import time

from bench.measure import percentile
from tests.support.smb1 import READ_SIZE, Console


def main(port: int, share: str, path: str, start: int, size: int) -> None:
    took = []
    with Console(port) as console:
        console.connect(share)
        handle = console.open_in_game(path)
        begin = time.perf_counter()
        for offset in range(start, start + size, READ_SIZE):
            before = time.perf_counter()
            if len(console.read(handle, offset)) != READ_SIZE:
                raise OSError(f"{path} ends at {offset}")
            took.append(time.perf_counter() - before)
        seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "p99": percentile(took, 99), "worst": max(took)}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
