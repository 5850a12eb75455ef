"""Terminal output: tables, progress bars, messages and the log.

Nothing here depends on discs or mounts.
"""

__all__ = [
    "logging_setup",
    "progress_bars",
    "stack_dumps",
    "stdio",
    "suggestions",
    "tables",
    "text",
]
