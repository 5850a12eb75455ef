"""The event streams: what a browser receives that comes when nobody looked."""

import trio

from tests.conftest import TimingsSetter
from tests.unit.web.test_jobs import until
from zsofs.mount.top.watched import Watch
from zsofs.web.jobs import Jobs
from zsofs.web.live import Live


async def state(live: Live) -> bytes:
    """The first state that a new stream has."""
    events = live.events()
    try:
        assert (await anext(events)).startswith(b"retry: ")
        return await anext(events)
    finally:
        await events.aclose()  # type: ignore[attr-defined]


def test_a_browser_that_comes_later_sees_no_old_state(set_timings: TimingsSetter) -> None:
    set_timings(web_poll=0.1)

    async def run() -> None:
        live = Live(["/none"], Jobs())
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(live.serve)
                assert b'"path":"/none"' in await state(live)
                await until(lambda: not live._text)  # nothing asks any more
                live.watch = Watch(["/another"])
                assert b'"path":"/another"' in await state(live)
                nursery.cancel_scope.cancel()

    trio.run(run)
