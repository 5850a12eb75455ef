"""The count of discs with which a mount begins, from the scan cache."""

from contextlib import closing

import pytest

from zsofs.discs.identify import Identity, Media, System
from zsofs.formats.file_names import APPLE_DOUBLE
from zsofs.formats.geometry import Codec
from zsofs.images.probe import Disc
from zsofs.source.disc_state import Count, count, state_of_content
from zsofs.source.finding import NOTHING, FileFinding
from zsofs.source.relpath import joined
from zsofs.source.scan_cache import ScanCache

DISC = Disc("ZSO", Codec.LZ4, 2048, 2048, raw_cd=False, remarks=("a remark",))

GAME = Identity(System.PS2, "SLUS_000.00", "Game", "GAME", Media.DVD)

FINDINGS = {
    b"Game.zso": FileFinding(DISC),
    b"a game without an extension": FileFinding(DISC),
    b"._Game.zso": FileFinding(DISC),
    b"a web page.cso": FileFinding(DISC, content="an HTML page"),
    b"truncated.zso": FileFinding(reason="the file is truncated"),
    b"plain.iso": NOTHING,
    b"card.bin": NOTHING,
    b"game.bin": FileFinding(
        identity=Identity(System.PS2, "SLUS_000.00", "Game", "GAME", Media.DVD)
    ),
    b"._plain.iso": FileFinding(content=APPLE_DOUBLE),
    b"plain.zso": FileFinding(right_ending=".iso"),
}


@pytest.mark.parametrize("folder", [b"", b"inner", b"/outside/of it"])
def test_the_count_is_that_of_the_findings(folder: bytes) -> None:
    with closing(ScanCache(None, b"/source")) as catalog:
        catalog.keep(folder, [(name, (1, 2, 3), found) for name, found in FINDINGS.items()])
        ordinary, others = catalog.counts()
        every = catalog.findings()

    def counted(findings: list[tuple[bytes, bytes, FileFinding]]) -> Count:
        return count(
            (joined(folder, name), state_of_content(name, found, opl=False))
            for folder, name, found in findings
        )

    assert len(every) == len(FINDINGS)
    assert ordinary == {folder: 3}
    assert len(others) == len(FINDINGS) - 3
    of_all, of_others = counted(every), counted(others)
    assert of_all.discs == of_others.discs + 3
    assert of_all.refused == of_others.refused != ()
