"""Command lines, help and exit codes."""

__all__ = ["main"]
