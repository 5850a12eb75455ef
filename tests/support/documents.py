"""The documents whose commands tests run: what stands in their frames."""

import re
from dataclasses import dataclass, field
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
_TABLE_HEAD = re.compile(r"^\|.*\|\n(?=\|---)", re.M)
_HEADING = re.compile(r"^## (.*)$", re.M)


@dataclass
class Document:
    """One of the documents, read section by section.

    Attributes:
        name: of its file.
        run: the sections whose commands were asked for.
    """

    name: str
    run: set[str] = field(default_factory=set)

    def sections(self) -> dict[str, str]:
        """The text below each heading."""
        _, *parts = _HEADING.split((DOCS / self.name).read_text())
        return dict(zip(parts[::2], parts[1::2], strict=True))

    def blocks(self, heading: str, language: str) -> list[str]:
        """What stands in the frames of a section that are marked so."""
        found = _BLOCK.findall(self.sections()[heading])
        return [text for mark, text in found if mark == language]

    def commands(self, heading: str) -> list[str]:
        """The commands of a section, frame by frame; they count as run."""
        found = self.blocks(heading, "sh")
        assert found, f"{self.name} has no commands below {heading!r}"
        self.run.add(heading)
        return found

    def table(self, heading: str) -> list[list[str]]:
        """The rows of a section's tables, without their heads; code stands without its marks."""
        text = _TABLE_HEAD.sub("", self.sections()[heading])
        rows = re.findall(r"^\| (.*) \|$", text, re.M)
        return [[cell.replace("`", "") for cell in row.split(" | ")] for row in rows]

    def not_run(self) -> list[str]:
        """Sections with commands that no test has asked for."""
        return [
            name for name in self.sections() if self.blocks(name, "sh") and name not in self.run
        ]
