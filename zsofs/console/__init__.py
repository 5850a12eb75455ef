"""Text for people: tables, progress bars, messages and the log.

Nothing here knows a disc or a mount.
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
