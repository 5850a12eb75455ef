"""How long zsofs waits, retries and trusts, in seconds: one object that every module reads.

Modules call `timings` when they wait, not when they are imported. `use` replaces the object before
a command runs. Only the tests do that, from a program of their own, so no option, variable or file
can change a timing of a real mount. What these values mean for users is in the documentation.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """All timings, by what they are for."""

    # ---- Following the source directory

    quiet_file: float = 3.0
    """A file that has not changed for this long is treated as complete, without better evidence."""

    closing_file: float = 0.25
    """Delay before a file that still counts as open for writing at its close is checked again,
    since Linux reports a close first. Later checks come after as long as the file has been
    closed."""

    gather_changes: float = 0.05
    """Delay from the first change to the scan of its directory: changes come in bursts."""

    trust_unwatched: float = 1.0
    """How long a listing is valid if the directory has no watch or has symlinks to others, and how
    long the kernel may cache names and attributes."""

    trust_watched: float = 30.0
    """The same with a watch, which cannot report a change made under another name of the file. Also
    the longest pause after a slow scan."""

    first_poll: float = 5.0
    """First interval of polling a directory that other machines may change; it doubles as long as
    nothing changes."""

    longest_poll: float = 30.0
    """Longest interval of that polling."""

    stale_listing: float = 0.25
    """How long a request waits for a scan before the last listing is used: a disk that hangs must
    not block `ls` if an answer is available."""

    look_for_source: float = 2.0
    """Interval of looking for a source directory that has gone."""

    first_opl_listing: float = 20.0
    """How long the first listing of the OPL layout waits for a scan of all discs; those scanned
    later appear later."""

    trust_cycle: float = 30.0
    """How long a mount that leads back to this one is not asked again."""

    mount_point_stat: float = 2.0
    """How long lstat of a mount point in the source may take."""

    count_give_way: float = 0.25
    """How long a scan for the count of discs waits before each file while others use the disk: a
    hard disk that is always in use then loses four short reads a second to it, some 5 % of its
    time."""

    count_give_way_check: float = 0.005
    """Interval of the check whether others still use the disk."""

    trust_count: float = 30.0
    """How old the count of discs may be in directories whose changes no event reports. A directory
    on a NAS is scanned for it only at a request, so that the disks of the NAS can sleep."""

    # ---- New discs through the mount

    new_disc_quiet: float = 60.0
    """How long a new disc must not have changed until it is whole: programs set times and names
    after they close a file, and some open it again."""

    new_disc_grace: float = 600.0
    """How long after that the client may still change it, such as to copy it again."""

    new_disc_gives_way: float = 5.0
    """How long after a read that waited for a disk new discs are written to it at a limited pace.
    Games pause for seconds between their reads."""

    new_disc_mark: float = 10.0
    """How often the mark of a file that is being copied is set again."""

    # ---- Requests and reads

    stale_free_space: float = 0.25
    """How long `df` waits before the last answer is used."""

    look_at_open_file: float = 0.25
    """How long opening a file that is already open waits for a check of its content."""

    idle_check: float = 15.0
    """Interval of the check for idle caches and buffers, and of removing idle tasks."""

    call_hangs: float = 1.0
    """A blocking call that takes longer hangs, if no other call has ended meanwhile."""

    retry_thread: float = 1.0
    """Delay before a call that must not be skipped asks for a thread again."""

    queue: float = 60.0
    """How long a call waits for a free thread if all of them wait for a FUSE file system, which may
    show this mount (bindfs, mergerfs) and wait for this call."""

    disk_in_use: float = 0.05
    """How long a disk is in use after its last read: a program that reads on does so by then."""

    retry_finished_jobs: float = 0.05
    """Delay before finished jobs are collected again after the listener failed."""

    file_map: float = 10.0
    """How long it may take to find the files of a disc that slow reads were for."""

    file_map_pause: float = 0.001
    """Pause after each part of that, so that it does not hold up reads."""

    disk_sleeps: float = 600.0
    """A slow read that is older wakes no disk for the name of its file: hard disks sleep after ten
    minutes at the earliest."""

    # ---- Boot traces

    trace_check: float = 15.0
    """Interval of checking which starts of discs are over."""

    trace_length: float = 300.0
    """How long the reads of a start are recorded."""

    trace_pause: float = 5.0
    """How long a task that reads ahead waits for its reader before it closes the file."""

    trace_quiet: float = 0.005
    """How long a reader has not read that has paused: a few times what a read from memory takes."""

    trace_yield: float = 0.1
    """How long reading ahead lets reads pass that wait for the same disk: some ten of a hard disk.
    A program that reads without a pause does not stop it."""

    read_follows: float = 0.01
    """How long after a read that waited for a disk nothing is read ahead from it: what a hard disk
    takes for a request. A program that reads faster than the disk would wait for that, too."""

    trace_scan: float = 10.0
    """A program that opens another disc so soon looks through the discs: nothing is read ahead at
    once."""

    disc_idle: float = 600.0
    """A disc that was not read for so long is started anew by the next read, through whatever
    handle: a console that is switched off leaves the one of its share open."""

    keep_awake: float = 120.0
    """Interval of reads that keep a disk from spinning down (`--keep-awake auto`): disks do that
    after five minutes at the earliest."""

    # ---- The end of a mount

    last_reads: float = 1.0
    """How long reads that wait for a disk may delay the end."""

    last_reads_check: float = 0.02
    """Interval of checking whether they have ended."""

    last_invalidations: float = 2.0
    """How long invalidation calls to the kernel may delay the shutdown."""

    last_invalidations_check: float = 0.01
    """Interval of checking whether they have ended."""

    keeper_answer: float = 2.0
    """How long the process without root's rights waits for an answer of its keeper."""

    keeper_detach: float = 8.0
    """How long a process that was told to end may keep the mount: one that hangs never asks for it
    to be detached, and the service manager kills both (TimeoutStopSec= in the unit)."""

    keeper_unmount: float = 2.0
    """How long detaching may take: a directory above the mount may be on a file system that does
    not answer."""

    # ---- The control socket and the commands that use it

    reload: float = 3.0
    """How long a reload request waits for the reload."""

    other_mounts: float = 2.0
    """How long a mount may take to find whether its source leads to another mount that asks."""

    peer: float = 4.0
    """Limit for each of: the request, the answer, sending it. Less than `answer`."""

    socket_check: float = 30.0
    """Interval of checking that the socket exists: runtime directories go at a user's logout."""

    library_first: float = 2.0
    """How long the first request for the library waits for the list of discs."""

    library_check: float = 1.0
    """Interval of the check whether the library has changed, while clients request it."""

    library_unused: float = 600.0
    """How long the list of discs is kept without requests."""

    last_bind: float = 1.0
    """How long the end of a mount waits for a control socket that is being bound again."""

    retry_accept: float = 0.5
    """Delay before the next connection is accepted after a failure, such as out of descriptors."""

    answer: float = 5.0
    """How long a command waits for all daemons together."""

    unmount: float = 8.0
    """How long `umount` waits for everything, except for finding what keeps a mount busy."""

    unmount_answer: float = 3.0
    """How long it waits for the daemon to report its process ID."""

    unmount_users: float = 1.5
    """How much longer it may take to find what keeps a mount busy: 10 seconds in all."""

    find_users: float = 1.2
    """How long to look for that: /proc of a process that hangs may be unreadable."""

    # ---- The web page

    web_request: float = 15.0
    """How long a connection of the web page may take to send a request, and wait for the next."""

    web_send: float = 10.0
    """How long a client may take to receive 64 KiB."""

    web_poll: float = 1.0
    """Interval at which mounts are asked while a browser shows the page."""

    web_ping: float = 15.0
    """Interval of comments on an event stream without changes, so that dead connections end."""

    web_covers: float = 30.0
    """How old the list of covers may be."""

    web_disk: float = 5.0
    """How long it waits for the disk of a disc whose files or cover it shows."""

    web_silent: float = 0.7
    """How long a mount may take for a reply until the page shows that it does not answer: with
    `web_poll`, less than two seconds after it hung."""

    web_job_silent: float = 10.0
    """How long a job of the page makes no progress until the next one may begin."""

    web_identify: float = 600.0
    """Shortest time between two searches for the identity of discs that have none."""

    # ---- Programs, terminals, logs, service managers

    mount_answer: float = 2.0
    """How long a mount point is asked whether its daemon is dead."""

    program: float = 3.0
    """How long a helper such as fusermount3 may run."""

    pipe: float = 10.0
    """How long a pipe may take to end, such as that of ``--dat <(curl …)`` in a shell."""

    terminal: float = 0.5
    """How long a message waits for a terminal, which may be stopped with Ctrl-S."""

    log_message: float = 0.05
    """How long a message waits until it is written, so that the log is complete if the process is
    killed. A log that takes longer is not waited for until it has caught up."""

    last_log_messages: float = 1.0
    """How long unwritten messages may delay the end of the process."""

    stacks: float = 5.0
    """How long a thread may take to get the GIL for the stacks that SIGUSR2 asks for: seconds on a
    busy machine. After that the thread that holds it counts as stuck."""

    log_again: float = 3600.0
    """How long the same message is not logged again."""

    service_status: float = 10.0
    """Interval of the status lines for the service manager."""

    reports: float = 1.0
    """How long a new mount serves before it loads what its reports need, unless somebody asks for
    one: that takes 0.06 s of a processor, while the first listing takes most of a second in a
    library of 10,000 discs."""

    retry_service_manager: float = 0.5
    """Delay before a message to the service manager is sent again."""

    # ---- `zsofs watch`

    watch_quiet_closed: float = 5.0
    """How long an input must be unchanged whose writer was seen closing or renaming it."""

    watch_quiet: float = 60.0
    """The same without such an event, without a lease, and for inputs to which other files may
    belong."""

    watch_quiet_holes: float = 3600.0
    """The same for an input with holes, as a download leaves them that sets the size first."""

    watch_quiet_sheet: float = 3600.0
    """The same for a `.bin` or `.img` without a cue sheet: tracks may arrive long before it."""

    watch_scan: float = 30.0
    """Interval of scanning the inboxes for changes that no event reported."""

    watch_scan_rest: float = 1.0
    """Shortest pause between two scans."""

    watch_reader: float = 5.0
    """How long a program counts as an active reader of a mount after its last read."""

    watch_ask: float = 1.0
    """Interval of asking the mounts of the library for active readers."""

    watch_start: float = 300.0
    """Longest pause after a job that could not be started, for example without memory. The first
    one is `watch_ask`; each further one is twice as long."""

    watch_full_disk: float = 600.0
    """Longest pause before a job that found the disk full is tried again without more space."""

    watch_status: float = 1.0
    """Interval of writing the state file of a watch while something is packed."""

    watch_end: float = 5.0
    """How long the end of a watch waits for its job to end."""

    watch_lock: float = 1.0
    """How long a watch that begins waits for the lock of one that was just killed."""

    # ---- Stores

    store_lock: float = 2.0
    """How long to wait for a store that another process has locked."""

    store_rest: float = 30.0
    """How long a store is not used after a failure that is not damage, such as a lock: each attempt
    may take `store_lock`, and a mount makes one per directory that it lists."""

    retry_store_lock: float = 0.02
    """Interval of trying to lock the directory of a store."""


_timings = Timings()


def timings() -> Timings:
    """Return the timings of this process."""
    return _timings


def use(other: Timings) -> None:
    """Replace the timings of this process, before anything has begun that reads them."""
    global _timings  # noqa: PLW0603 - it is the one object
    _timings = other
