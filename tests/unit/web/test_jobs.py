"""Jobs of the page: one at a time, unless one makes no progress; real processes."""

import sys
from collections.abc import Awaitable, Callable

import pytest
import trio

from tests.conftest import TimingsSetter
from zsofs.web.jobs import Job, Jobs

HANGS = ["sleep", "60"]
WORKS = """
import time
while True:
    print('{"done": 3, "bytes": 9}', flush=True)
    time.sleep(0.05)
"""
RESULT = """
print('{"done": 9, "bytes": 9}')
print("no JSON")
print("7")
print('{"state": "bad", "reason": "block 7"}')
"""


def during(check: Callable[[Jobs], Awaitable[None]]) -> None:
    """Run a check while jobs are run."""

    async def main() -> None:
        jobs = Jobs()
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(jobs.serve)
                await check(jobs)
                nursery.cancel_scope.cancel()

    trio.run(main)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - there is no event for it
        await trio.sleep(0.01)


def states(jobs: Jobs) -> list[str]:
    return [job.state for job in jobs.jobs]


def test_progress_and_result() -> None:
    async def check(jobs: Jobs) -> None:
        assert jobs.add("verify", "Okami.zso", [sys.executable, "-c", RESULT])
        (job,) = jobs.jobs
        await until(lambda: not job.is_active)
        shown = job.to_json()
        assert (shown["state"], shown["result"]) == ("failed", "bad: block 7")
        assert (shown["done"], shown["bytes"], shown["silent"]) == (9, 9, False)
        jobs.add("verify", "None", [sys.executable, "-c", "raise SystemExit(5)"])
        await until(lambda: not jobs.jobs[1].is_active)
        assert jobs.jobs[1].result == "zsofs verify gave no result (exit code 5)"
        jobs.add("verify", "None", ["/no/such/program"])
        await until(lambda: not jobs.jobs[2].is_active)
        assert jobs.jobs[2].result.startswith("it could not be started: ")

    during(check)


def test_one_at_a_time_while_it_makes_progress(set_timings: TimingsSetter) -> None:
    set_timings(web_job_silent=5.0)

    async def check(jobs: Jobs) -> None:
        jobs.add("verify", "one", [sys.executable, "-c", WORKS])
        jobs.add("identify", "two", ["true"])
        await until(lambda: jobs.jobs[0].done == 3)
        assert states(jobs) == ["running", "waiting"]
        assert jobs.add("identify", "two", ["true"])  # it waits already
        assert len(jobs.jobs) == 2
        assert jobs.cancel(jobs.jobs[0].number)
        await until(lambda: states(jobs) == ["failed", "done"])
        assert jobs.jobs[0].result == "it was ended"
        assert not jobs.cancel(jobs.jobs[0].number)
        assert not jobs.cancel("one")

    during(check)


@pytest.mark.parametrize("kind", ["verify", "identify"])
def test_a_job_that_hangs_does_not_hold_up_others(set_timings: TimingsSetter, kind: str) -> None:
    set_timings(web_job_silent=0.05)

    async def check(jobs: Jobs) -> None:
        jobs.add(kind, "hangs", HANGS)
        jobs.add("identify", "works", ["true"])
        await until(lambda: states(jobs) == ["running", "done"])
        assert jobs.jobs[0].to_json()["silent"] is (kind == "verify")

    during(check)


def test_jobs_that_hang_are_few_and_can_be_ended(set_timings: TimingsSetter) -> None:
    set_timings(web_job_silent=0.05)

    async def check(jobs: Jobs) -> None:
        for number in range(6):
            jobs.add("verify", str(number), [*HANGS, str(number)])
        jobs.add("identify", "works", ["true"])
        running = ["running"] * 4
        await until(lambda: states(jobs) == [*running, "waiting", "waiting", "waiting"])
        assert jobs.cancel(jobs.jobs[6 - 1].number)  # one that waits
        for job in jobs.jobs[:4]:
            jobs.cancel(job.number)
        await until(lambda: states(jobs) == ["failed"] * 4 + ["running", "failed", "done"])

    during(check)


def test_jobs_are_bounded() -> None:
    async def check(jobs: Jobs) -> None:
        found = [jobs.add("identify", str(number), [*HANGS, str(number)]) for number in range(12)]
        assert found == [True] * 10 + [False] * 2
        jobs.jobs = [Job(number, "verify", "", ("",), "done") for number in range(40)]
        jobs.add("identify", "new", ["true"])
        assert len(jobs.jobs) == 20

    during(check)
