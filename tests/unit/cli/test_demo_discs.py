"""The files of the sample disc: the recipe makes them again, and they need no library."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from release import demo_discs
from tests.support.reference import decode, open_container

MADE_FROM = ("lz4", "pycdlib", "zstandard")


@pytest.fixture(scope="module")
def image() -> bytes:
    return demo_discs.make_image()


def run_python(code: str, *arguments: Path, **environment: str) -> bytes:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        check=True,
        env={**os.environ, **environment},
    ).stdout


def test_the_image_is_the_same_everywhere(image: bytes) -> None:
    code = "import sys; from release.demo_discs import make_image\n"
    code += "sys.stdout.buffer.write(make_image())"
    assert run_python(code, TZ="Asia/Tokyo") == image


def test_the_recipe_makes_the_files_again(image: bytes, tmp_path: Path) -> None:
    """Compressed bytes differ between versions of the codecs, so the content is compared."""
    demo_discs.main(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["Sample (LZ4).zso", "Sample (Zstandard).zso", "Sample (deflate).cso"]
    assert names == sorted(path.name for path in demo_discs.DISCS.iterdir())
    for name, codec in zip(names, ("lz4", "zstd", "deflate"), strict=True):
        kept, made = (demo_discs.DISCS / name).read_bytes(), (tmp_path / name).read_bytes()
        assert kept[:24] == made[:24]
        assert open_container(kept).codec == codec
        assert decode(kept) == decode(made) == image


def test_no_codec_library_is_loaded_for_the_demo(tmp_path: Path) -> None:
    code = (
        "import sys; from zsofs.cli.demo import fill_demo_folder; fill_demo_folder(sys.argv[1])\n"
    )
    code += f"print([name for name in {MADE_FROM} if name in sys.modules])"
    assert run_python(code, tmp_path) == b"[]\n"
    assert len(list(tmp_path.iterdir())) == 3
