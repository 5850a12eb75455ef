"""The web page in Chromium: what is seen, without a mouse, by everyone, and under load."""

import http.client
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.mount.control.test_activity import hanging_read, sample_on_hanging_disk
from tests.mount.control.test_status import runtime as runtime
from tests.mount.web.test_web import HOSTILE
from tests.support import writers
from tests.support.browser import Browser, browser
from tests.support.ends import spawned
from tests.support.mounting import Mount, mounted, timed, wait_until
from tests.support.pages import PATIENT, Page, mount_number, served
from tests.support.rounds import rounds
from tests.unit.discs.test_identify import PS2_IMAGE, made

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("browser")]

AXE = "axe-core@4.14.1"
SIZES = ((390, 844), (1280, 800), (1920, 1080))
PAGES = ("library", "now", "stutter", "jobs")
MANY = 10_000
STEM = HOSTILE.removesuffix(".zso")
QUICK = timed(quiet_file=0.1)
BIG = made({"/MOVIE/INTRO.PSS": os.urandom(4 << 20), "/DATA/STAGE.BIN": bytes(range(256)) * 4096})
PLAYER = """
import os, sys, time
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
at = 0
while True:
    at = at + 65536 if os.pread(fd, 65536, at) else 0
    time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core, from npm."""
    folder = tmp_path_factory.mktemp("axe")
    subprocess.run(["npm", "pack", "--silent", AXE], cwd=folder, check=True, timeout=120)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as packed:
        script = packed.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests."""
    with browser(tmp_path_factory.mktemp("profile")) as made_one:
        yield made_one


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A library of a few discs, one of them large enough for its map."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "Paper Wolf.zso").write_bytes(writers.maxcso_zso(BIG, block_size=2048))
    (folder / HOSTILE).write_bytes(writers.maxcso_zso(PS2_IMAGE))
    (folder / "Bad.zso").write_bytes(b"no disc" * 99)
    for number in range(40):
        (folder / f"Game {number:02}.zso").write_bytes(writers.maxcso_zso(PS2_IMAGE))
    return folder


@pytest.fixture
def shown(
    tmp_path: Path, source: Path, runtime: Path, chromium: Browser
) -> Iterator[tuple[Mount, Page]]:
    """A mount, and the page with its library in the browser."""
    with (
        mounted(source, tmp_path / "mnt", "--slow-ms", "1", command=QUICK) as one,
        served(tmp_path, one.path, seconds=PATIENT) as page,
    ):
        chromium.resize(1280, 800)
        chromium.errors()
        chromium.open(page.url + "/")
        try:
            chromium.wait_for("document.querySelector('.card')", "the library")
            yield one, page
            assert chromium.errors() == []
        finally:
            chromium.open("about:blank")


@contextmanager
def playing(disc: Path) -> Iterator[None]:
    """A program that reads a disc from its beginning to its end, again and again."""
    with spawned([sys.executable, "-c", PLAYER, str(disc)]) as player:
        try:
            yield
        finally:
            player.kill()


def go(chromium: Browser, address: str, selector: str = "h1") -> None:
    """Go to a page of the page."""
    chromium.js("location.hash = arguments[0]", address)
    chromium.wait_for(f"document.querySelector({selector!r})", address)


def disc_address(page: Page, mount: Mount) -> str:
    return f"#/disc/{mount_number(page, mount.path)}/Paper%20Wolf.zso"


def test_ten_thousand_discs(tmp_path: Path, runtime: Path, chromium: Browser) -> None:
    source = tmp_path / "source"
    source.mkdir()
    packed = writers.maxcso_zso(PS2_IMAGE)
    for number in range(MANY):
        (source / f"Game {number:05}.zso").write_bytes(packed)
    with (
        mounted(source, tmp_path / "mnt", command=QUICK) as one,
        served(tmp_path, one.path, is_forked=False) as page,
    ):
        chromium.resize(1280, 800)
        chromium.open(page.url + "/")
        chromium.wait_for(
            "document.querySelector('.head p').innerText.includes('10,000')", "all", 60
        )
        assert "Game 00000" in chromium.text(".card")
        for part in (0.25, 0.5, 1):
            chromium.js("scrollTo(0, document.body.scrollHeight * arguments[0])", part)
            number = round(part * (MANY - 1))
            wanted = f"Game {number // 100:03}"
            texts = "[...document.querySelectorAll('.card')].map(one => one.innerText)"
            chromium.wait_for(f"{texts}.join().includes('{wanted}')", "the discs there")
            assert chromium.count(".card") < 120
        chromium.js("document.querySelector('input[type=search]').focus()")
        chromium.press(*"game 07777")
        chromium.wait_for("document.querySelector('.head p').innerText.startsWith('1 disc')", "it")
        assert chromium.count(".card") == 1
        memory = pss_mib(page.process.pid)
        print(f"page {memory:.1f} MiB")
        assert memory < 80
        chromium.open("about:blank")


def test_live_updates_while_a_program_plays(chromium: Browser, shown: tuple[Mount, Page]) -> None:
    mount, page = shown
    go(chromium, "#/now", ".rate .number")
    assert "No disc has been read" in chromium.text()
    disc = mount.path / "Paper Wolf.iso"
    with playing(disc):
        chromium.wait_for(
            "/[1-9].*MB/.test(document.querySelector('.rate .number').innerText)", "a rate"
        )
        chromium.wait_for(
            "document.querySelector('main').innerText.includes('Paper Wolf')", "the disc"
        )
        chromium.wait_for("document.querySelector('main').innerText.includes('python')", "it")
        go(chromium, disc_address(page, mount), "canvas.map[data-lit]")
        chromium.wait_for("document.querySelector('canvas').dataset.lit > 10", "the map")
    colors = chromium.js("""
        const canvas = document.querySelector("canvas"), found = new Set();
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        for (let at = 0; at < data.length; at += 4) found.add(data.slice(at, at + 3).join());
        return found.size""")
    assert colors >= 3  # what was read, what was not, and the ground
    assert "/MOVIE/INTRO.PSS" in chromium.text("main")


def test_slow_reads_and_a_report_without_paths(
    tmp_path: Path, runtime: Path, chromium: Browser
) -> None:
    with (
        sample_on_hanging_disk(tmp_path) as (disk, mount),
        served(tmp_path, mount.path, seconds=PATIENT) as page,
    ):
        chromium.resize(1280, 800)
        chromium.open(page.url + "/#/stutter")
        chromium.wait_for("document.querySelector('.timeline')", "the page")
        with hanging_read(disk, mount.path / "Game.iso", 901120):
            chromium.wait_for("document.querySelector('#alerts p')", "the alert")
            assert "does not answer" in chromium.text("#alerts")
            go(chromium, "#/now", ".tile.bad")
            assert "no answer" in chromium.text(".tile.bad")
            go(chromium, "#/stutter", ".timeline")
        chromium.wait_for("document.querySelector('.slow li')", "the slow read")
        assert "Game" in chromium.text(".slow li")
        permissions = {"permissions": ["clipboardReadWrite"], "origin": page.url}
        chromium.cdp("Browser.grantPermissions", permissions)
        chromium.click("main .primary")
        copied = "document.querySelector('main [role=status]').innerText.includes('Copied')"
        chromium.wait_for(copied, "the report")
        report = str(chromium.js("return navigator.clipboard.readText()"))
        assert "1 slow read in the last hour" in report.splitlines()[0]
        assert "Game" in report
        assert str(tmp_path) not in report
        chromium.open("about:blank")


def test_hostile_names_are_text(chromium: Browser, shown: tuple[Mount, Page]) -> None:
    chromium.js("document.querySelector('input[type=search]').focus()")
    chromium.press(*"onerror")
    chromium.wait_for("document.querySelector('.head p').innerText.startsWith('1 disc')", "it")
    assert HOSTILE.removesuffix(".zso") in chromium.text(".card .name")
    assert chromium.count(".card img, .card script") == 0
    chromium.click(".card")
    chromium.wait_for("document.querySelector('.hero h1')", "the disc")
    assert chromium.count(".hero img, .hero script") == 0
    mount, page = shown
    (mount.path / HOSTILE.replace(".zso", ".iso")).read_bytes()
    page.log_in()
    body = json.dumps({"mount": mount_number(page, mount.path), "disc": HOSTILE}).encode()
    assert page.ask("/api/verify", "POST", body).status == 200
    for name in ("now", "jobs", "stutter"):
        go(chromium, f"#/{name}", "main h1")
        if name != "stutter":  # no read need have been slow
            text = f"document.querySelector('main').innerText.includes({STEM!r})"
            chromium.wait_for(text, f"the disc on the page {name}")
        assert chromium.count("main img, main script, #alerts img") == 0
    assert chromium.js("return document.title").endswith("zsofs")


def test_search_filters_and_sorting(chromium: Browser, shown: tuple[Mount, Page]) -> None:
    texts = "[...document.querySelectorAll('.card .name')].map(one => one.innerText)"
    found = "document.querySelector('.head p').innerText"
    chromium.wait_for(f"{found}.startsWith('43 discs')", "all")
    chromium.click("fieldset[aria-label=State] [value=hidden]")
    chromium.wait_for(f"{found}.startsWith('1 disc')", "what is not shown")
    assert chromium.js(f"return {texts}") == ["Bad"]
    chromium.click("fieldset[aria-label=State] [value=shown]")
    chromium.wait_for(f"{found}.startsWith('42 discs')", "what is shown")
    chromium.js("document.querySelector('select[aria-label=\"Sort by\"]').focus()")
    chromium.press("Down")
    chromium.wait_for(f"{texts}[0] === 'Paper Wolf'", "the largest")
    chromium.press("Up")
    chromium.wait_for(f"{texts}[0] !== 'Paper Wolf'", "the first by name")
    chromium.click("fieldset[aria-label=State] [value='']")
    chromium.press("/", *"nothing at all")
    chromium.wait_for("document.body.innerText.includes('No disc matches')", "none")
    chromium.press("Escape")


def test_more_tabs_than_a_browser_has_connections(
    chromium: Browser, shown: tuple[Mount, Page]
) -> None:
    """Six for all of them: a hidden tab has no event stream."""
    _, page = shown
    with ExitStack() as tabs:
        for _ in range(7):
            tabs.enter_context(chromium.tab())
            chromium.open(page.url + "/")
            chromium.wait_for("document.querySelector('.card')", "the library in another tab")
    go(chromium, "#/now", ".tile")  # the first one follows again
    chromium.wait_for("!document.querySelector('#alerts').innerText", "its stream")


def test_nothing_moves_for_those_who_prefer_that(
    chromium: Browser, shown: tuple[Mount, Page]
) -> None:
    moving = """
        const found = getComputedStyle(document.querySelector('.card .face'));
        return [found.transitionDuration, document.getAnimations().length]"""
    chromium.js("document.querySelector('.card').focus()")
    assert chromium.js(moving) == ["0s", 0]
    chromium.resize(1280, 800, still=False)
    assert chromium.js(moving)[0] != "0s"


def test_a_name_that_is_not_utf8(
    source: Path, chromium: Browser, shown: tuple[Mount, Page]
) -> None:
    """Its page opens, and all other discs are there too."""
    place = os.path.join(os.fsencode(source), b"Dark \xff\xe9 100%.zso")
    with open(place, "wb") as file:
        file.write(writers.maxcso_zso(PS2_IMAGE))
    texts = "[...document.querySelectorAll('.card')].map(one => one.getAttribute('href'))"
    chromium.wait_for(f"{texts}.join().includes('Dark%20%FF%E9%20100%25')", "the disc")
    assert chromium.count(".card") > 20
    address = next(one for one in chromium.js(f"return {texts}") if "%FF%E9" in one)
    go(chromium, address, ".map")
    chromium.wait_for("document.querySelector('.under').innerText.includes('files')", "its files")
    chromium.js("location.hash = '#/disc/x/%zz'")
    chromium.wait_for("document.body.innerText.includes('not in the library')", "the answer")


def test_without_a_mouse(chromium: Browser, shown: tuple[Mount, Page]) -> None:
    focused = "return document.activeElement.innerText"
    chromium.js("document.querySelector('.brand').focus()")
    chromium.press("Tab", "Tab")
    assert "Now" in chromium.js(focused)
    chromium.press("Enter")
    chromium.wait_for("document.querySelector('.rate')", "the page")
    go(chromium, "#/library", ".card")
    chromium.js("document.querySelector('.card').focus()")
    first = chromium.js(focused)
    chromium.press("Right")
    second = chromium.js(focused)
    chromium.press("Down", "Down")
    below = chromium.js(focused)
    assert len({first, second, below}) == 3
    for _ in range(12):
        chromium.press("Down")
    assert chromium.js("return document.activeElement.matches('.card')")
    assert chromium.js("return scrollY") > 0
    title = chromium.js("return document.activeElement.querySelector('.name').innerText")
    chromium.press("Enter")
    chromium.wait_for("document.querySelector('.hero h1')", "the disc")
    assert chromium.text(".hero h1") == title
    chromium.press("Escape")
    chromium.wait_for("document.activeElement.matches('.card')", "the card")
    assert title in chromium.js(focused)


def test_the_focus_stays_with_its_disc(
    source: Path, chromium: Browser, shown: tuple[Mount, Page]
) -> None:
    """When the library changes, and when a disc far below what is seen was opened."""
    focused = "document.activeElement.matches('.card') && document.activeElement.hash"
    chromium.js("document.querySelectorAll('.card')[3].focus()")
    address = chromium.js(f"return {focused}")
    (source / "A new one.zso").write_bytes(writers.maxcso_zso(PS2_IMAGE))
    chromium.wait_for("document.querySelector('.shelf').innerText.includes('A new one')", "it")
    assert chromium.js(f"return {focused}") == address
    for _ in range(12):
        chromium.press("Down")
    address = chromium.js(f"return {focused}")
    chromium.js('scrollTo({ top: 0, behavior: "instant" }); document.activeElement.click()')
    chromium.wait_for("document.querySelector('.hero h1')", "the disc")
    chromium.press("Escape")
    chromium.wait_for(focused, "the card")
    assert chromium.js(f"return {focused}") == address
    box = "document.activeElement.getBoundingClientRect()"
    chromium.wait_for(f"{box}.top >= 0 && {box}.bottom <= innerHeight", "the card is seen")


def test_every_size_and_both_schemes(
    chromium: Browser, shown: tuple[Mount, Page], tmp_path: Path
) -> None:
    mount, page = shown
    (mount.path / "Paper Wolf.iso").read_bytes()
    disc = disc_address(page, mount)
    grounds = set()
    for width, height in SIZES:
        for scheme in ("dark", "light"):
            chromium.resize(width, height, scheme=scheme)
            for name in (*(f"#/{one}" for one in PAGES), disc):
                go(chromium, name, "main > *")
                wide = chromium.js("return document.documentElement.scrollWidth - innerWidth")
                assert wide <= 0, (name, width)
            grounds.add(
                chromium.js("return getComputedStyle(document.documentElement).backgroundColor")
            )
            chromium.screenshot(tmp_path / f"{width}-{scheme}.png")
            assert (tmp_path / f"{width}-{scheme}.png").stat().st_size > 10_000
    assert len(grounds) == 2


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_axe_finds_nothing_serious(
    chromium: Browser, shown: tuple[Mount, Page], axe: str, scheme: str
) -> None:
    mount, page = shown
    (mount.path / "Paper Wolf.iso").read_bytes()
    found = []
    for width, height in SIZES[:2]:
        chromium.resize(width, height, scheme=scheme)
        for name in (*(f"#/{one}" for one in PAGES), disc_address(page, mount), "/login"):
            if name == "/login":
                chromium.open(page.url + name)
            else:
                go(chromium, name, ".hero h1" if "disc" in name else "main h1")
            time.sleep(1.2)  # until the first state has been drawn
            chromium.js(axe)
            result = chromium.js("return axe.run({ resultTypes: ['violations'] })")
            found += [
                (
                    name,
                    width,
                    one["id"],
                    one["nodes"][0]["html"][:120],
                    one["nodes"][0]["failureSummary"][:300],
                )
                for one in result["violations"]
                if one["impact"] in ("serious", "critical")
            ]
        chromium.open(page.url + "/")
        chromium.wait_for("document.querySelector('.card')", "the library")
    assert found == []


def test_logging_in_and_out(chromium: Browser, shown: tuple[Mount, Page]) -> None:
    """As a person does it: with the keyboard, and a wrong token first."""
    _, page = shown
    chromium.click("#log-in")
    chromium.wait_for("document.querySelector('#token')", "the login")
    chromium.press(*"wrong-token-of-20-x", "Enter")
    chromium.wait_for("document.querySelector('#wrong').innerText", "the refusal")
    assert chromium.text("#wrong") == "This is not the token."
    chromium.press(*page.token, "Enter")  # the wrong one is selected
    chromium.wait_for("document.querySelector('.card')", "the library")
    chromium.wait_for("!document.querySelector('#log-out').hidden", "the session")
    assert page.token not in chromium.js("return location.href")
    go(chromium, disc_address(page, shown[0]), ".hero h1")
    chromium.wait_for("document.querySelector('.acts .primary')", "the button")
    chromium.click(".acts .primary")
    go(chromium, "#/jobs", ".job")
    text = "document.querySelector('main').innerText"
    chromium.wait_for(f"{text}.includes('Verify: Paper Wolf.zso')", "the job")
    chromium.wait_for(f"{text}.includes('every block can be decoded')", "its result")
    chromium.click("#log-out")
    chromium.wait_for("!document.querySelector('#log-in').hidden", "the end of the session")
    chromium.wait_for("document.querySelector('.card')", "the library")
    chromium.click("#log-in")  # a session would lead on
    chromium.wait_for("document.querySelector('#token')", "the login")
    chromium.open(page.url + "/")
    chromium.wait_for("document.querySelector('.card')", "the library")


def test_a_mount_that_dies_and_one_that_appears(
    tmp_path: Path, source: Path, runtime: Path, chromium: Browser
) -> None:
    with served(tmp_path, seconds={}) as page, ExitStack() as stack:
        chromium.resize(1280, 800)
        chromium.open(page.url + "/#/now")
        one = stack.enter_context(mounted(source, tmp_path / "mnt", command=QUICK))
        chromium.wait_for(
            f"document.querySelector('main').innerText.includes({str(one.path)!r})", "it"
        )
        one.may_end = True
        os.kill(one.daemon.pid, signal.SIGSTOP)
        chromium.wait_for(
            f"document.querySelector('#alerts').innerText.includes({str(one.path)!r})", "the alert"
        )
        os.kill(one.daemon.pid, signal.SIGCONT)
        chromium.wait_for(
            f"!document.querySelector('#alerts').innerText.includes({str(one.path)!r})", "its end"
        )
        stack.close()
        chromium.wait_for(
            f"!document.querySelector('main').innerText.includes({str(one.path)!r})", "the end"
        )
        chromium.open("about:blank")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def test_fifty_streams_for_a_minute(tmp_path: Path, source: Path, runtime: Path) -> None:
    """At most 2 % of the daemon's time and 80 MiB of memory; ten minutes with --thorough."""
    seconds = rounds(60, 600)
    counts, flips = [0] * 50, [0] * 50
    with (
        mounted(source, tmp_path / "mnt", command=("env", sys.executable, "-m", "zsofs")) as one,
        served(tmp_path, one.path, seconds={}, is_forked=False) as page,
    ):
        lines = [http.client.HTTPConnection("127.0.0.1", page.port, timeout=30) for _ in counts]

        def follow(number: int) -> None:
            lines[number].request("GET", "/api/events")
            reply = lines[number].getresponse()
            error = ""
            with suppress(OSError, ValueError, http.client.HTTPException):  # at the end
                while text := reply.readline():
                    if text.startswith(b"data: "):
                        counts[number] += 1
                        last, error = error, json.loads(text[6:])["mounts"][0]["error"]
                        flips[number] += error != last

        threads = [
            threading.Thread(target=follow, args=(number,), daemon=True) for number in range(50)
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: min(counts) > 0, "all streams")
        disc = mount_number(page, one.path) and one.path / "Paper Wolf.iso"
        before, begun = cpu_seconds(one.daemon.pid), time.monotonic()
        fd = os.open(disc, os.O_RDONLY | os.O_DIRECT)
        while time.monotonic() < begun + seconds:
            os.pread(fd, 4096, 0)  # each second differs from the last one
            time.sleep(0.5)
        os.close(fd)
        took = time.monotonic() - begun
        used, memory = cpu_seconds(one.daemon.pid) - before, pss_mib(page.process.pid)
        print(f"daemon {100 * used / took:.2f} %, page {memory:.1f} MiB, {sum(counts)} events")
        assert min(counts) > seconds / 3
        # At most one a second, and one when the mount stops to answer, or answers again.
        assert all(n < took + 3 + more for n, more in zip(counts, flips, strict=True))
        assert used / took < 0.02
        assert memory < 80
    for thread in threads:  # the server has closed their connections
        thread.join(30)
    for line in lines:
        line.close()
