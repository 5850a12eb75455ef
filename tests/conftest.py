"""Fixtures for all tests; a mount left behind, or a missing FUSE, is a failure."""

import gc
import getpass
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support import connections, fork_server, rounds
from tests.support.mounting import ZSOFS, Mount, is_in_memory, mounted, unmount
from zsofs import timings

settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    print_blob=True,
)
settings.load_profile("ci")

if os.geteuid() == 0 and not all(
    folder.stat().st_mode & 0o001 for folder in Path(tempfile.gettempdir(), "x").parents
):
    # A private one, as PAM makes them: other users, whom root tests with, could not get to mounts.
    os.environ["TMPDIR"] = tempfile.tempdir = "/var/tmp"

MountMaker = Callable[..., Mount]
TimingsSetter = Callable[..., None]

_LONGEST_ID = 200
_SYSTEM_TESTS = re.compile(r"^pytestmark = \[?\s*pytest\.mark\.system\b", re.MULTILINE)

fork_server.install()
connections.install()

# What collecting makes stays: looking through it again and again takes a sixth of that time.
gc.disable()

# What nohup, or a shell that runs this in the background, had ignored: programs would inherit it.
for _number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(
            _number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL
        )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--thorough",
        action="store_true",
        help="more rounds, more examples: see tests/support/rounds.py",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose before a test module is imported: decorators and parameters depend on it."""
    rounds.choose(thorough=config.getoption("--thorough"))
    if "coverage" in sys.modules:
        # It cannot trace a thread that Python 3.11 starts at the same time as another one.
        config.addinivalue_line(
            "filterwarnings",
            "ignore:Exception ignored in thread started:pytest.PytestUnraisableExceptionWarning",
        )


def pytest_unconfigure() -> None:
    """Remove the directory that pytest makes for all runs of a user, unless it has files."""
    with suppress(OSError):
        Path(tempfile.gettempdir(), f"pytest-of-{getpass.getuser()}").rmdir()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name what is long, such as a disc with its date, by its parameter: alike in all workers."""
    return argname if isinstance(val, bytes | str) and len(val) > _LONGEST_ID else None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import a module of system tests for a run without them: some make large discs."""
    if config.getoption("markexpr") != "not system" or collection_path.suffix != ".py":
        return None
    return bool(_SYSTEM_TESTS.search(collection_path.read_text())) or None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse a pytest-xdist that does not group tests: it would say nothing itself.

    What was collected stays, and would be looked through by each collection of garbage.
    """
    if getattr(session.config.option, "loadgroup", False):  # a worker of ``--dist loadgroup``
        marked = [item for item in session.items if item.get_closest_marker("xdist_group")]
        if not all("@" in item.nodeid for item in marked):
            raise pytest.UsageError("pytest-xdist cannot group the tests of this pytest")
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _nothing_stays(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Fail if this run leaves something mounted, and take it down; let pytest delete the rest."""
    root = str(tmp_path_factory.getbasetemp())
    yield
    text = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    left = re.findall(rf"^\d+ \d+ \S+ \S+ ({re.escape(root)}\S*) .* - fuse\.zsofs ", text, re.M)
    for point in left:
        unmount(Path(point))
    if not (left or request.session.testsfailed):
        make_removable(Path(root))  # such as copies of a mount, whose directories are read-only
    assert not left, f"left mounted: {left}"


def make_removable(folder: Path) -> None:
    """Give this user the permissions to delete a directory, which tests may have removed."""
    subprocess.run(["chmod", "-R", "u+rwX", folder], check=True)


@pytest.fixture(scope="session", autouse=True)
def _logs_of_tests_stay_theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what mounts write (logs, sockets, catalogs) out of the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _every_connection_is_closed() -> Iterator[None]:
    """Fail in the test that leaves an SQLite file open."""
    yield
    left = connections.left_open()
    assert not left, "left open, made in:\n" + "\n".join(left)


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """Undo what a command that a test calls in this process does to the log of all."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture(scope="module")
def module_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory for what the tests of a module share; pytest would keep it until the run ends."""
    folder = tmp_path_factory.mktemp("module")
    yield folder
    make_removable(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module", autouse=True)
def _discs_go(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have discs that a module makes once (`functools.cache`) go with the last of its tests."""
    yield
    for value in vars(request.module).values():
        if getattr(value, "__module__", None) == request.module.__name__:
            getattr(value, "cache_clear", lambda: None)()


@pytest.fixture
def memory() -> Iterator[Path]:
    """An empty directory on a tmpfs of which nobody else mounts anything."""
    if not os.path.ismount("/dev/shm") or not os.access("/dev/shm", os.W_OK):
        pytest.skip("needs a tmpfs at /dev/shm that every user may write to")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def on_disk() -> Iterator[Path]:
    """An empty directory whose files the kernel can drop from memory, unlike those of a tmpfs."""
    for place in (tempfile.gettempdir(), "/var/tmp"):
        if not is_in_memory(Path(place)):
            with tempfile.TemporaryDirectory(dir=place) as folder:
                yield Path(folder)
            return
    pytest.skip("needs a directory on a disk; that for temporary files and /var/tmp are in memory")


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[MountMaker]:
    """Mount folders for the length of a test: ``mount(source, *arguments)``."""
    with ExitStack() as stack:
        count = 0

        def make(source: Path, *arguments: str, **others: tuple[str, ...]) -> Mount:
            nonlocal count
            count += 1
            made: AbstractContextManager[Mount] = mounted(
                source, tmp_path / f"mnt{count}", *arguments, **others
            )
            return stack.enter_context(made)

        yield make


@pytest.fixture
def set_timings() -> Iterator[TimingsSetter]:
    """Have other timings in this process for the length of a test: ``set_timings(answer=0.2)``."""
    before = timings.timings()
    yield lambda **seconds: timings.use(replace(before, **seconds))
    timings.use(before)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An empty source directory."""
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def as_root() -> None:
    """Skip where the test needs root, as CI is."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def own_mounts() -> None:
    """Skip where a test cannot have a table of mounts of its own, as in a chroot."""
    _need_namespaces("--mount")


@pytest.fixture
def own_users() -> None:
    """Skip where a test cannot have users of its own, as in a chroot."""
    _need_namespaces("--user", "--map-root-user", "--mount")


def _need_namespaces(*words: str) -> None:
    done = subprocess.run(["unshare", *words, "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(done.stderr.strip())


@pytest.fixture
def another_user() -> None:
    """Skip where another user cannot run this checkout, as below a closed home folder."""
    try:
        # Executed: a fork has read everything already, but not what it needs in its package later.
        words = ["env", *ZSOFS, "--version"]
        subprocess.run(words, user=65534, group=65534, cwd="/", check=True)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("another user cannot read this checkout or its Python")
