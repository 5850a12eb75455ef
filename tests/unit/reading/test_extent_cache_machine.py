"""The cache of extents under readers that come, wait, fail and are cancelled in any order.

What is held, which is what ``zsofs.reading.extent_cache`` promises:

* What a reader gets is right at the moment he gets it, and what the cache keeps is right always.
* There is one load for each key at a time, and who waits for one is never left waiting.
* What a load raises goes to all who waited for it, and to nobody later.
* A cancelled load costs nobody but who was cancelled. Its buffer may still be written to, so it
  is never seen again.
* ``used`` is what is kept and what is being loaded. With the spare buffers it is no more than the
  capacity, unless the loads under way alone are more: then nothing else is held at all.
* What was kept goes only to make room, least recently used first.
* Memory of a size that is idle, or that was made room in, is filled again rather than allocated.
* A load that fits beside the other loads under way is kept.
"""

import threading
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import trio
import trio.testing
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

import zsofs.reading.extent_cache
from tests.support.rounds import rounds
from zsofs.reading.extent_cache import ExtentCache

SIZES = (100, 100, 100, 100, 100, 300, 300, 1000, 5000)
"""Sizes of the extents that there are; the last one is larger than any of the caches."""

CAPACITIES = (0, 150, 350, 800, 1300, 2500)

Key = tuple[str, int]


def right(key: Key, size: int) -> bytes:
    """The contents of an extent: no two have a byte in common."""
    return bytes((2 * key[1] + 1, 2 * key[1] + 2)) * (size // 2)


HALF_DONE, SCRIBBLED = b"\xee", b"\xdd"


class LoadError(Exception):
    """What a load raised: each has its own."""


class Loop:
    """A trio loop in a thread of its own, on which the steps of a test run one by one."""

    def __init__(self) -> None:
        self._up = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,), daemon=True)
        self._thread.start()
        assert self._up.wait(10)

    async def _main(self) -> None:
        async with trio.open_nursery() as self.nursery:
            self._token = trio.lowlevel.current_trio_token()
            self._up.set()
            await trio.sleep_forever()

    def step(self, *actions: Callable[[], object]) -> None:
        """Do all of *actions* at once, and wait until every task waits for something."""

        async def act() -> None:
            for action in actions:
                action()
            with trio.fail_after(30):  # tasks that never come to rest
                await trio.testing.wait_all_tasks_blocked()

        trio.from_thread.run(act, trio_token=self._token)

    def tasks(self) -> int:
        """How many tasks have not ended."""
        return len(self.nursery.child_tasks)

    def end(self) -> None:
        trio.from_thread.run_sync(self.nursery.cancel_scope.cancel, trio_token=self._token)
        self._thread.join(10)
        assert not self._thread.is_alive()


@dataclass(eq=False)
class Reader:
    """One who asks for an extent.

    Attributes:
        key: of what.
        pauses: whether his load, if it comes to that, waits to be told how to end.
        fails: whether his load, if it does not pause, fails.
        got: a copy of what he got, made before anything else could happen.
        error: what he got instead.
        loaded: whether it was he who loaded.
    """

    key: Key
    pauses: bool
    fails: bool
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    got: bytes | None = None
    error: LoadError | None = None
    loaded: bool = False
    ended: bool = False


@dataclass(eq=False)
class Load:
    """One call of a reader's ``load`` that has not ended."""

    reader: Reader
    buffer: bytearray
    go_on: trio.Event = field(default_factory=trio.Event)
    error: LoadError | None = None


class CacheMachine(RuleBasedStateMachine):
    """Readers, and loads that end when and how a rule says."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = Loop()
        self.readers: list[Reader] = []
        self.loads: list[Load] = []
        self.abandoned: list[bytearray] = []
        self.wrong: list[str] = []
        self.begun = 0
        self.hits = 0
        self.clock = 0
        self.last_used: Counter[Key] = Counter()
        self.kept: dict[Key, bytearray] = {}
        self.last_filled = bytearray()
        self.given_up = 0
        self.sound = True

    @initialize(capacity=st.sampled_from(CAPACITIES), cancel_in_the_end=st.booleans())
    def start(self, capacity: int, cancel_in_the_end: bool) -> None:
        self.cache = ExtentCache(capacity)
        self.cancel_in_the_end = cancel_in_the_end

    # What there is

    def loading_bytes(self) -> int:
        return sum(len(load.buffer) for load in self.loads)

    def held(self) -> list[bytearray]:
        """Every buffer that the cache keeps alive, found without a word on where it has them."""
        return list(buffers_in(self.cache, set()))

    def pending(self) -> list[Reader]:
        return [reader for reader in self.readers if not reader.ended]

    def waiters(self) -> list[Reader]:
        loaders = {load.reader for load in self.loads}
        return [reader for reader in self.pending() if reader not in loaders]

    # What readers do

    def ask(self, reader: Reader) -> None:
        self.readers.append(reader)
        self.loop.nursery.start_soon(self._read, reader)

    async def _read(self, reader: Reader) -> None:
        size = SIZES[reader.key[1]]
        with reader.scope:
            try:
                extent = await self.cache.get(reader.key, size, self._loader(reader))
                reader.got = bytes(extent)
                self.last_used[reader.key] = self.clock
                self.hits += not reader.loaded
            except LoadError as error:
                reader.error = error
            except Exception as error:
                self.wrong.append(f"{reader.key}: {error!r}")
        reader.ended = True

    def _loader(self, reader: Reader) -> Callable[[bytearray], Awaitable[None]]:
        async def load(buffer: bytearray) -> None:
            self._check_new_load(reader, buffer)
            this = Load(reader, buffer)
            self.loads.append(this)
            reader.loaded = True
            self.begun += 1
            self.last_filled = buffer
            self._check_memory()
            size = len(buffer)
            buffer[:] = right(reader.key, size)[: size // 2] + HALF_DONE * (size - size // 2)
            try:
                if reader.pauses:
                    await this.go_on.wait()
                elif reader.fails:
                    this.error = LoadError(reader.key)
            except trio.Cancelled:
                self.loads.remove(this)
                self.given_up += 1
                self.abandoned.append(buffer)
                raise
            self.given_up += this.error is not None or self.loading_bytes() > self.cache.capacity
            self.loads.remove(this)
            if this.error:
                raise this.error
            buffer[:] = right(reader.key, size)

        return load

    # Rules

    @rule(
        number=st.integers(0, len(SIZES) - 1),
        count=st.sampled_from((1, 1, 1, 2, 4)),
        pauses=st.booleans(),
        fails=st.sampled_from((False, False, False, True)),
    )
    def ask_for(self, number: int, count: int, pauses: bool, fails: bool) -> None:
        readers = [Reader(("extent", number), pauses, fails) for _ in range(count)]
        self.step(*(partial(self.ask, reader) for reader in readers))

    @precondition(lambda self: self.loads)
    @rule(which=st.integers(0, 99))
    def a_load_ends(self, which: int) -> None:
        load = self.loads[which % len(self.loads)]
        fits = self.loading_bytes() <= self.cache.capacity
        asking = [reader for reader in self.pending() if reader.key == load.reader.key]
        begun = self.begun
        self.step(load.go_on.set)
        assert load.reader.got is not None
        if fits:
            assert load.reader.key in self.kept, "it fits and was not kept"
            assert all(reader.got is not None for reader in asking)
            assert self.begun == begun, "loaded again though it was kept"

    @precondition(lambda self: self.loads)
    @rule(which=st.integers(0, 99))
    def a_load_fails(self, which: int) -> None:
        load = self.loads[which % len(self.loads)]
        asking = [reader for reader in self.pending() if reader.key == load.reader.key]
        self.step(partial(fail, load))
        assert all(reader.error is load.error for reader in asking), "not all were told"
        assert load.reader.key not in self.kept, "an error was kept"

    @precondition(lambda self: self.loads)
    @rule(which=st.integers(0, 99))
    def a_loader_is_cancelled(self, which: int) -> None:
        reader = self.loads[which % len(self.loads)].reader
        others = [other for other in self.waiters() if other.key == reader.key]
        begun = self.begun
        self.step(reader.scope.cancel)
        assert reader.ended
        assert (reader.got, reader.error) == (None, None)
        assert (self.begun > begun) == bool(others), "who waits loads instead"

    @precondition(lambda self: self.waiters())
    @rule(which=st.integers(0, 99))
    def a_waiter_is_cancelled(self, which: int) -> None:
        waiters = self.waiters()
        reader = waiters[which % len(waiters)]
        before = list(self.loads)
        self.step(reader.scope.cancel)
        assert reader.ended
        assert (reader.got, reader.error) == (None, None)
        assert self.loads == before, "a load does not care for who waits"

    @rule(
        what=st.lists(
            st.tuples(
                st.sampled_from(("end", "fail", "cancel", "ask", "ask at once")),
                st.integers(0, 99),
            ),
            min_size=2,
            max_size=6,
        )
    )
    def many_things_at_once(self, what: list[tuple[str, int]]) -> None:
        loads, pending = list(self.loads), self.pending()
        actions: list[Callable[[], object]] = []
        for act, which in what:
            if act.startswith("ask"):
                key = ("extent", which % len(SIZES))
                actions.append(partial(self.ask, Reader(key, act == "ask", False)))
            elif act == "cancel" and pending:
                actions.append(pending[which % len(pending)].scope.cancel)
            elif act == "end" and loads:
                actions.append(loads[which % len(loads)].go_on.set)
            elif act == "fail" and loads:
                actions.append(partial(fail, loads[which % len(loads)]))
        self.step(*actions)

    # What holds

    def step(self, *actions: Callable[[], object]) -> None:
        """Let *actions* happen at once and all that follows from them; then look at everything."""
        self.sound = False
        self.clock += 1
        begun, given_up, before, held = self.begun, self.given_up, self.kept, self.held()
        self.loop.step(*actions)
        self.kept = {key_of(key): extent for key, extent in self.cache._extents.items()}
        dropped = {key: len(before[key]) for key in before.keys() - self.kept.keys()}
        newest = max((self.last_used[key] for key in dropped), default=0)
        in_order = all(newest <= self.last_used[key] for key in self.kept)
        assert in_order or not dropped, "not the least recently used went first"
        if self.begun != begun + 1:
            return
        if dropped and self.given_up == given_up:
            last = [size for key, size in dropped.items() if self.last_used[key] == newest]
            assert self.cache.used + max(last) > self.cache.capacity, "dropped for nothing"
        stayed = {id(before[key]) for key in before.keys() & self.kept.keys()}
        idle = {id(buffer) for buffer in held if len(buffer) == len(self.last_filled)} - stayed
        assert not idle or id(self.last_filled) in idle, "allocated though memory was idle"

    @invariant()
    def everything_is_right(self) -> None:
        self.sound = False
        cache = self.cache
        for reader in self.readers:
            if reader.got is not None:
                assert reader.got == right(reader.key, SIZES[reader.key[1]]), reader.key
        for key, extent in cache._extents.items():
            assert extent == right(key_of(key), SIZES[key_of(key)[1]]), key
        loading = [load.reader.key for load in self.loads]
        assert set(cache._loading) == set(loading)
        assert {reader.key for reader in self.pending()} == set(loading), "somebody is stranded"
        assert self.loop.tasks() == len(self.pending())
        assert cache.used == sum(map(len, self.kept.values())) + self.loading_bytes()
        assert (cache.misses, cache.hits) == (self.begun, self.hits)
        self._check_memory()
        assert not self.wrong, self.wrong
        for buffer in self.abandoned:  # a thread whose load was cancelled continues writing
            buffer[:] = SCRIBBLED * len(buffer)
        self.readers = self.pending()
        self.sound = True

    def _check_memory(self) -> None:
        """Also called while a load begins, where failing would be taken for a failed load."""
        held, loading = self.held(), [load.buffer for load in self.loads]
        total = sum(map(len, held)) + sum(map(len, loading))
        if held and total > self.cache.capacity:
            self.wrong.append(f"{total} bytes held with a capacity of {self.cache.capacity}")
        every = [id(buffer) for buffer in held + loading + self.abandoned]
        if len(every) != len(set(every)):
            self.wrong.append("memory in use twice")

    def _check_new_load(self, reader: Reader, buffer: bytearray) -> None:
        if any(load.reader.key == reader.key for load in self.loads):
            self.wrong.append(f"two loads of {reader.key} at a time")
        if len(buffer) != SIZES[reader.key[1]]:
            self.wrong.append(f"a buffer of {len(buffer)} bytes for {reader.key}")
        if reader.loaded:
            self.wrong.append("one reader loaded twice")

    def teardown(self) -> None:
        try:
            if self.sound:
                self._finish()
        finally:
            self.loop.end()

    def _finish(self) -> None:
        """Everybody goes, one way or the other, and nothing stays behind."""
        for _ in range(len(self.readers)):
            if self.cancel_in_the_end:
                self.step(*(reader.scope.cancel for reader in self.pending()))
            else:
                self.step(*(load.go_on.set for load in self.loads))
            if not self.pending():
                break
        self.everything_is_right()
        assert not self.loads
        assert not self.pending()
        assert self.loop.tasks() == 0
        assert self.cache.used == sum(map(len, self.kept.values())) <= self.cache.capacity
        assert sum(map(len, self.held())) <= self.cache.capacity


def key_of(key: object) -> Key:
    assert isinstance(key, tuple)
    return key


def fail(load: Load) -> None:
    load.error = load.error or LoadError(load.reader.key)
    load.go_on.set()


def buffers_in(thing: object, seen: set[int]) -> Iterator[bytearray]:
    """The buffers that *thing* holds, one that is held twice twice."""
    if isinstance(thing, bytearray):
        yield thing
    elif isinstance(thing, dict | list | tuple | set | deque):
        for part in [*thing, *thing.values()] if isinstance(thing, dict) else thing:
            yield from buffers_in(part, seen)
    elif type(thing).__module__ == zsofs.reading.extent_cache.__name__ and id(thing) not in seen:
        seen.add(id(thing))
        yield from buffers_in(vars(thing), seen)


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.settings = settings(max_examples=rounds(50, 150), stateful_step_count=40)
