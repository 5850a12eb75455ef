"""What the processes of a test run share is made once, and nobody waits for those who use it."""

import threading
import time
from pathlib import Path

from tests.support.rounds import rounds
from tests.system.shared import made_once

_AT_ONCE = 8


def test_all_who_ask_at_once_get_it(tmp_path: Path) -> None:
    for number in range(rounds(10, 100)):
        place = tmp_path / str(number)
        made: list[Path] = []
        found: list[Path] = []
        begin = threading.Barrier(_AT_ONCE)

        def make(folder: Path) -> None:
            time.sleep(0.01)  # the others have seen by then that it is missing
            (folder / "file").touch()
            made.append(folder)  # noqa: B023

        def ask() -> None:
            begin.wait(30)  # noqa: B023
            found.append(made_once(place, make))  # noqa: B023

        threads = [threading.Thread(target=ask, daemon=True) for _ in range(_AT_ONCE)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 30
        for thread in threads:
            thread.join(max(end - time.monotonic(), 0))
        assert found == [place] * _AT_ONCE
        assert len(made) == 1
        assert (place / "file").exists()
