"""Checking discs for tests, in this process, so that very many can be checked."""

import hashlib
import zlib
from pathlib import Path
from xml.sax.saxutils import quoteattr

from zsofs.discs.dat import Dat
from zsofs.inspection.verify import VerifyRequest, VerifyRun
from zsofs.inspection.verify_cache import Checked
from zsofs.inspection.verify_report import Result, VerifyReporter

DAT_NAME = "Sony - PlayStation 2"


class Listener(VerifyReporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(quiet=True, as_json=False)
        self.results: list[Result] = []

    def tell(self, result: Result) -> None:
        self.results.append(result)


def results(
    *paths: Path, dats: tuple[Dat, ...] = (), quick: bool = False, checked: Checked | None = None
) -> list[Result]:
    """What comes of these files and folders."""
    listener = Listener()
    request = VerifyRequest([str(path) for path in paths], dats, quick)
    VerifyRun(request, listener, checked or Checked(None)).run()
    return listener.results


def result(path: Path, *dats: Dat, quick: bool = False) -> Result:
    """What comes of one file."""
    (only,) = results(path, dats=dats, quick=quick)
    return only


def rom(name: str, image: bytes, *, keys: str = "crc md5 sha1", **more: str) -> str:
    """A line of a DAT."""
    said = {
        "name": name,
        "size": str(len(image)),
        "crc": f"{zlib.crc32(image):08x}",
        "md5": hashlib.md5(image).hexdigest(),
        "sha1": hashlib.sha1(image).hexdigest(),
    }
    wanted = {"name", "size", *keys.split()}
    chosen = {key: value for key, value in said.items() if key in wanted} | more
    return f"<rom {' '.join(f'{key}={quoteattr(value)}' for key, value in chosen.items())}/>"


def dat_of(games: dict[str, list[str]], *, name: str = DAT_NAME, tag: str = "game") -> str:
    """A DAT as Redump writes them, with these games and their lines."""
    body = "".join(
        f"\t<{tag} name={quoteattr(game)}>\n\t\t<category>Games</category>\n"
        f"\t\t<description>{game.replace('&', '&amp;')}</description>\n\t\t"
        + "\n\t\t".join(roms)
        + f"\n\t</{tag}>\n"
        for game, roms in games.items()
    )
    return (
        '<?xml version="1.0"?>\n<!DOCTYPE datafile PUBLIC "-//Logiqx//DTD ROM Management'
        ' Datafile//EN" "http://www.logiqx.com/Dats/datafile.dtd">\n<datafile>\n\t<header>\n'
        f"\t\t<name>{name}</name>\n\t\t<description>{name} - Discs</description>\n"
        f"\t\t<author>redump.org</author>\n\t</header>\n{body}</datafile>\n"
    )
