"""Text for people: tables, progress bars, messages and the log.

Nothing here knows a disc or a mount.
"""

__all__ = ["logging_setup", "progress_bars", "stdio", "suggestions", "tables", "text"]
