"""Answers to other zsofs mounts whether this one leads to them; see mount_cycles.py."""

import trio

from zsofs.reading.worker_threads import QUESTIONS, WorkerThreads
from zsofs.source.tree import SourceTree
from zsofs.timings import timings


async def leads_to_asker(workers: WorkerThreads, tree: SourceTree, question: bytes) -> bool:
    """Return whether *tree* leads to the mount that asks; False after a timeout."""
    with trio.move_on_after(timings().other_mounts):
        return await workers.run(QUESTIONS, tree.leads_to, question)
    return False
