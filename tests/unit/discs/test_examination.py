"""What is found out of the content of an image, each thing once, also by `zsofs pack`."""

from pathlib import Path

import pytest

from tests.support import writers
from tests.unit.discs.test_identify import PS2_IMAGE
from zsofs.cli.main import main
from zsofs.discs import examination
from zsofs.discs.classify import Classification, ContentKind, Read, classify
from zsofs.discs.examination import Examination
from zsofs.images.input_image import original


@pytest.fixture
def classified(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the images that have been classified."""
    sizes = []

    def counted(read: Read, size: int) -> Classification:
        sizes.append(size)
        return classify(read, size)

    monkeypatch.setattr(examination, "classify", counted)
    return sizes


def test_each_thing_is_found_out_once(tmp_path: Path, classified: list[int]) -> None:
    path = tmp_path / "Game.zso"
    path.write_bytes(PS2_IMAGE[:-4096])
    with original(str(path)) as image:
        examined = Examination(image)
        for _ in range(2):
            assert examined.content.kind is ContentKind.DISC
            assert examined.is_misnamed_disc
            assert "missing" in examined.cut
            assert len(examined.remarks) == 1
            assert examined.shortage is not None
    assert classified == [len(PS2_IMAGE) - 4096]


def test_a_whole_disc_has_no_remarks(tmp_path: Path) -> None:
    path = tmp_path / "Game.zso"
    path.write_bytes(writers.zsoz(PS2_IMAGE))
    with original(str(path)) as image:
        examined = Examination(image)
        assert (examined.cut, examined.remarks, examined.is_misnamed_disc) == ("", (), False)


@pytest.mark.parametrize("name", ["Game.iso", "Game.zso", "Game.bin"])
def test_pack_classifies_an_input_once(tmp_path: Path, classified: list[int], name: str) -> None:
    (tmp_path / name).write_bytes(PS2_IMAGE)
    assert main(["pack", "--quiet", "-o", str(tmp_path / "new.zso"), str(tmp_path / name)]) == 0
    assert classified == [len(PS2_IMAGE)]
    classified.clear()
    assert (
        main(["unpack", "--quiet", "-o", str(tmp_path / "x.iso"), str(tmp_path / "new.zso")]) == 0
    )
    assert classified == [len(PS2_IMAGE)]
