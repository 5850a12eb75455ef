"""Boot traces: what a disc was asked for when it was started, read ahead when it is started again.

For the event loop. It changes what the kernel caches of the source, never a byte or an error.
"""

__all__ = ["boot_trace", "counters", "disks_awake", "handle_reads", "preloader", "settings"]
