"""What came out, by workload, contender, figure and round."""

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path

Rounds = dict[int, float]


@dataclass
class Results:
    """All samples of one benchmark.

    Attributes:
        settings: how it was started.
        machine: what it ran on.
        samples: by workload, contender and figure, one for each round.
        missing: why a contender (or ``workload/contender``) was left out.
        notes: what else a reader should know.
    """

    settings: dict[str, str | int | bool]
    machine: dict[str, str]
    samples: dict[str, dict[str, dict[str, Rounds]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(
        self, workload: str, contender: str, round_number: int, figures: dict[str, float]
    ) -> None:
        if not figures:
            return
        rows = self.samples.setdefault(workload, {}).setdefault(contender, {})
        for name, value in figures.items():
            rows.setdefault(name, {})[round_number] = value

    def rounds(self, workload: str, contender: str, figure: str) -> Rounds:
        """The samples of one figure; none if it was not measured."""
        return self.samples.get(workload, {}).get(contender, {}).get(figure, {})

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class Summary:
    """Median and extremes of some samples."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, rounds: Rounds) -> "Summary":
        values = list(rounds.values())
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int) -> str:
        median = f"{self.median:,.{digits}f}"
        if self.least == self.most:
            return median
        return f"{median} ({self.least:,.{digits}f}-{self.most:,.{digits}f})"


def ratios(ours: Rounds, theirs: Rounds) -> Rounds:
    """Round by round, ours over theirs: what disturbed both disturbs the ratio less."""
    return {number: ours[number] / theirs[number] for number in ours if theirs.get(number)}
