"""Completion for shells, from the parsers that also print ``--help``."""

from collections.abc import Callable, Mapping

from release.complete_bash import bash
from release.complete_fish import fish
from release.complete_zsh import zsh

__all__ = ["SCRIPTS", "bash", "fish", "zsh"]

SCRIPTS: Mapping[str, Callable[[], str]] = {
    "usr/share/bash-completion/completions/zsofs": bash,
    "usr/share/fish/vendor_completions.d/zsofs.fish": fish,
    "usr/share/zsh/vendor-completions/_zsofs": zsh,
}
"""Where each shell looks for its script, below the root directory, and what makes it."""
