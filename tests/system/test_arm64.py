"""zsofs for arm64, used under the emulation of qemu-user; only with --thorough.

Most tests have it compiled here. Python and the libraries are those of Debian for arm64, unpacked
without running their scripts. The Debian package is built in the emulation, with the compiler of
this machine, which takes half an hour: it needs the registries of Debian and Python. The handler
of programs is registered with the flag F, so that it works in a root directory without qemu, and
is unregistered afterwards.
"""

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pyfuse3
import pytest

from release.portable import binaries
from tests.support.mounting import DATA, ZSOFS
from tests.support.rounds import rounds
from tests.system.conftest import ROOT
from tests.system.discs import MANIFEST
from tests.system.minimal import APT, add_devices, changed, inside, system, unpacked
from tests.system.shared import made_once
from tests.system.test_debian13 import TO_BUILD
from tests.system.test_install import clone_to
from zsofs import __version__

_GCC = "aarch64-linux-gnu-gcc"
_TOOLCHAIN = (_GCC, "aarch64-linux-gnu-as", "aarch64-linux-gnu-ld")
_QEMU = shutil.which("qemu-aarch64-static")
pytestmark = [
    pytest.mark.system,
    pytest.mark.xdist_group("arm64"),
    pytest.mark.timeout(7200),  # the one that has the package built
    pytest.mark.skipif(rounds(0, 1) == 0, reason="takes minutes; run with --thorough"),
    pytest.mark.skipif(
        _QEMU is None or shutil.which(_GCC) is None,
        reason="needs qemu-user-static, gcc-aarch64-linux-gnu and libc6-dev-arm64-cross",
    ),
]

_PACKAGES = (
    "fuse3", "libdeflate-dev", "libfuse3-3", "libfuse3-dev", "liblz4-dev",
    "libzstd-dev", "python3", "python3-dev",
)  # fmt: skip
_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_HANDLER = "zsofs-tests-aarch64"
# The first 20 bytes of a 64-bit ELF program or library for AArch64, and which bits of them count.
_MAGIC = r"\x7fELF\x02\x01\x01" + r"\x00" * 9 + r"\x02\x00\xb7\x00"
_MASK = r"\xff" * 7 + r"\x00" + r"\xff" * 8 + r"\xfe" + r"\xff" * 3
_SITE = Path(pyfuse3.__file__).parents[1]
_PURE = ("attr", "attrs", "idna", "inotify_simple.py", "outcome", "sniffio", "sortedcontainers")
_PURE_TOO = ("tomli_w", "tqdm", "trio", "wcwidth")
_SUFFIX = ".cpython-311-aarch64-linux-gnu.so"
_FUSE_FLAGS = ("-DFUSE_USE_VERSION=32", "-D_FILE_OFFSET_BITS=64")
_PROGRAM = """\
#!/usr/bin/python3.11 -B
import sys
sys.path.insert(0, "/opt/zsofs")
from zsofs.cli.main import main
raise SystemExit(main())
"""


@pytest.fixture(scope="module")
def emulated() -> Iterator[None]:
    """Have the kernel run programs for arm64 with qemu."""
    if not (_BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", _BINFMT], check=True)
    (_BINFMT / "register").write_text(f":{_HANDLER}:M::{_MAGIC}:{_MASK}:{_QEMU}:F")
    try:
        yield
    finally:
        (_BINFMT / _HANDLER).write_text("-1")


@pytest.fixture(scope="module")
def installed(emulated: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The root directory of an arm64 Debian 12 with zsofs, and all that a mount needs."""
    place = tmp_path_factory.mktemp("arm64")
    with changed(place, unpacked("bookworm", _PACKAGES, "arm64")) as root:
        add_devices(root)
        compile_to(root)
        shutil.copytree(DATA, root / "root/data")
        yield root


@pytest.fixture(scope="module")
def deb_arm64(emulated: None, run_path: Path) -> Path:
    """The package, built on a Debian 12 for arm64 as its document says."""

    def build(folder: Path) -> None:
        with changed(folder / "build", system("bookworm", TO_BUILD, "arm64")) as root:
            add_compiler(root)
            clone_to(root / "root/zsofs")
            said = inside(root, "cd zsofs; git init -q; ./bootstrap.sh deb", seconds=5400)
            assert "Install it with: sudo apt install " in said
            (path,) = (root / "root/zsofs/dist").glob("*.deb")
            shutil.copy(path, folder)
        subprocess.run(["rm", "-rf", folder / "build"], check=True)

    return next(made_once(run_path / "package-arm64", build).glob("*.deb"))


def add_compiler(root: Path) -> None:
    """Replace the compiler and linker of a system by those of this machine, which make the same.

    They run ten times as fast as in the emulation. All else of the system stays: they find its
    headers and libraries.
    """
    said = subprocess.run([_GCC, "-print-search-dirs"], capture_output=True, text=True, check=True)
    parts = Path(said.stdout.partition("install: ")[2].partition("\n")[0])
    left_out = shutil.ignore_patterns("*san*", "lto1", "plugin")
    shutil.copytree(parts, root / parts.relative_to("/"), ignore=left_out, symlinks=True)
    programs = [Path(shutil.which(name) or name).resolve() for name in _TOOLCHAIN]
    for path in programs:
        (root / path.relative_to("/")).unlink()
        shutil.copy(path, root / path.relative_to("/"))
    place = root / "usr/aarch64-linux-gnu"
    (place / "bin").mkdir(parents=True)
    (place / "bin/as").symlink_to(f"/usr/bin/{programs[1].name}")
    (place / "bin/ld").symlink_to(f"/usr/bin/{programs[2].name}")
    (place / "include").symlink_to("/usr/include/aarch64-linux-gnu")
    needs = [*programs, parts / "cc1", parts / "collect2"]
    said = subprocess.run(["ldd", *needs], capture_output=True, text=True, check=True)
    for name in sorted(set(re.findall(r"(/lib\S*/\S+) \(0x", said.stdout))):
        (root / name[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, root / name[1:])


def compile_to(root: Path) -> None:
    """Compile what is native, and copy what is not."""
    target = root / "opt/zsofs"
    ignored = shutil.ignore_patterns("*.so", "*.c", "__pycache__")
    shutil.copytree(ROOT / "zsofs", target / "zsofs", ignore=ignored)
    for name in (*_PURE, *_PURE_TOO):
        copy = shutil.copytree if (_SITE / name).is_dir() else shutil.copy
        copy(_SITE / name, target / name)
    for path in _SITE.glob("pyfuse3-*.dist-info"):
        shutil.copytree(path, target / path.name)
    libraries = root / "opt/lib"  # without libc.so, a text with paths of the system itself
    libraries.mkdir()
    for name in ("lz4", "zstd", "deflate", "lzma", "fuse3"):
        found = list(root.glob(f"*/aarch64-linux-gnu/lib{name}.so.*"))
        found += root.glob(f"usr/lib/aarch64-linux-gnu/lib{name}.so.*")
        shutil.copy(next(path for path in found if path.exists()), libraries / f"lib{name}.so")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for module in project["tool"]["setuptools"]["ext-modules"]:
        source = ROOT / module["sources"][0]
        words = [f"-I{ROOT / name}" for name in module.get("include-dirs", ())]
        words += [f"-D{name}={value}" for name, value in module.get("define-macros", ())]
        words += [f"-l{name}" for name in module.get("libraries", ())]
        built = target / (module["name"].replace(".", "/") + _SUFFIX)
        compile_one(root, source.with_suffix(".c"), built, *words)
    package = _SITE / "pyfuse3"
    shutil.copytree(package, target / "pyfuse3", ignore=ignored)
    built = target / "pyfuse3" / f"__init__{_SUFFIX}"
    flags = (*_FUSE_FLAGS, f"-I{package}", f"-I{root}/usr/include/fuse3", "-lfuse3")
    compile_one(root, package / "__init__.c", built, *flags)
    program = root / "usr/local/bin/zsofs"
    program.parent.mkdir(parents=True, exist_ok=True)  # base-files was not set up
    program.write_text(_PROGRAM)
    program.chmod(0o755)


def compile_one(root: Path, source: Path, target: Path, *words: str) -> None:
    """Compile one module from the C that Cython has made of it."""
    headers = [f"-I{root}/usr/include/python3.11", "-idirafter", f"{root}/usr/include"]
    command: list[str | Path] = [
        _GCC,
        "-shared",
        "-fPIC",
        "-O2",
        "-pthread",
        "-o",
        target,
        source,
        *headers,
    ]
    done = subprocess.run(
        [*command, f"-L{root}/opt/lib", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]


def test_it_is_for_arm64(installed: Path) -> None:
    said = inside(installed, "python3.11 -c 'import platform; print(platform.machine())'")
    assert said == "aarch64\n"
    assert inside(installed, "zsofs --version") == f"zsofs {__version__}\n"


def test_every_format_is_read(installed: Path) -> None:
    """What is unpacked has the checksum of the disc, for each container and codec."""
    for kind in ("zso", "cso", "dax"):
        said = inside(installed, f"zsofs unpack data/*.{kind} -o {kind}/; cd {kind}; sha1sum *.iso")
        found = {line[42:]: line[:40] for line in said.splitlines() if line[40:42] == "  "}
        names = {name for name in MANIFEST if name.endswith(f".{kind}")}
        assert found == {Path(name).stem + ".iso": MANIFEST[name]["sha1"] for name in names}


def test_chds_are_verified_as_here(installed: Path) -> None:
    """All codecs of CHDs, with the SHA-1s of their headers."""
    words = "verify chd/cd*.chd chd/dvd*.chd 2>&1 || :"
    here = f"cd {DATA} && {shlex.join(ZSOFS)} {words}"
    wanted = subprocess.run(["sh", "-c", here], capture_output=True, text=True, check=True).stdout
    assert wanted.count(": sealed") >= 8
    assert inside(installed, f"cd data; zsofs {words}") == wanted


def test_what_is_packed_is_read_here(installed: Path, tmp_path: Path) -> None:
    """All cores pack; a program of this machine's architecture reads the file."""
    for preset, ending in (("mount", "zso"), ("console", "zso"), ("psp", "cso")):
        name = f"{preset}.{ending}"
        inside(installed, f"zsofs pack data/ps2.iso --any --for {preset} -o {name}")
        packed = shutil.copy(installed / f"root/{name}", tmp_path)
        out = tmp_path / f"{preset}.iso"
        subprocess.run([*ZSOFS, "unpack", packed, "-o", out], check=True)
        assert out.read_bytes() == (DATA / "ps2.iso").read_bytes()


def test_mounted(installed: Path) -> None:
    """Small reads, one large one, and the status, which the kernel and another process ask for."""
    said = inside(
        installed,
        "zsofs mount --demo demo >log; zsofs status --json >status; sha1sum demo/*.iso;"
        " mkdir discs; cp data/ziso-py.zso data/maxcso.dax discs; sleep 5;"
        " zsofs mount discs iso >>log;"
        " cd iso; sha1sum *.iso; dd if=ziso-py.iso bs=1M status=none | cmp - ../data/ps2.iso;"
        " cd ..; zsofs umount iso; zsofs umount demo",
    )
    sums = [line.split()[0] for line in said.splitlines() if line.endswith(".iso")]
    assert len(set(sums[:3])) == 1
    assert sums[3:] == [MANIFEST[name]["sha1"] for name in ("maxcso.dax", "ziso-py.zso")]
    (one,) = json.loads((installed / "root/status").read_text())
    assert one["mount_point"] == "/root/demo"


def test_the_package_is_for_arm64(deb_arm64: Path, tmp_path: Path) -> None:
    assert re.fullmatch(
        rf"zsofs_{re.escape(__version__)}\+\d{{14}}~deb12_arm64\.deb", deb_arm64.name
    )
    said = subprocess.run(
        ["dpkg-deb", "-f", deb_arm64, "Architecture"], capture_output=True, text=True, check=True
    )
    assert said.stdout == "arm64\n"
    subprocess.run(["dpkg-deb", "-x", deb_arm64, tmp_path / "all"], check=True)
    found = list(binaries(tmp_path / "all"))
    assert len(found) > 5
    for path in found:  # the machine of the header: 183 is AArch64
        assert path.read_bytes()[18:20] == b"\xb7\x00", path


def test_the_package_installed_used_and_purged(deb_arm64: Path, tmp_path: Path) -> None:
    with changed(tmp_path, system("bookworm", ("fuse3",), "arm64")) as root:
        add_devices(root)
        shutil.copytree(DATA, root / "root/data")
        shutil.copy(deb_arm64, root / "root/zsofs.deb")
        inside(root, f"{APT} update; {APT} install ./zsofs.deb; rm zsofs.deb")
        assert inside(root, "zsofs --version") == f"zsofs {__version__}\n"
        said = inside(
            root,
            "mkdir discs; cp data/ziso-py.zso data/maxcso.dax discs; sleep 5;"
            " zsofs mount discs iso >log; cd iso; sha1sum *.iso; cd ..; zsofs umount iso",
        )
        sums = [line.split()[0] for line in said.splitlines()]
        assert sums == [MANIFEST[name]["sha1"] for name in ("maxcso.dax", "ziso-py.zso")]
        inside(root, "apt-get purge -y zsofs")
        assert not list(root.glob("usr/*/zsofs*"))
        assert not list(root.glob("etc/zsofs*"))
