"""Implementations of all commands except `zsofs mount`: options in, exit code out.

Expensive modules are imported where they are used, which keeps ``zsofs --version`` fast. Each
function returns the exit code, and raises ZsofsError if the command fails as a whole.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zsofs.pack.presets import Packing


def umount(options: argparse.Namespace) -> int:
    """Unmount mounts."""
    from zsofs.console.logging_setup import fail
    from zsofs.mount.umount import take_down_all

    codes = [fail(error) for error in take_down_all(options.mount_points, lazy=options.lazy)]
    return codes[0] if codes else 0


def reload(options: argparse.Namespace) -> int:
    """Make a mount scan its source again."""
    from zsofs.mount.control.client import ask
    from zsofs.mount.named_mount import mount_point_of

    ask(mount_point_of(options.mount_point), "reload")
    return 0


def status(options: argparse.Namespace) -> int:
    """Print the state of mounts and watches."""
    from zsofs.mount.control import status as mount_status
    from zsofs.watch import status as watch_status

    watches = watch_status.watches(options.mount_point)
    if options.mount_point is not None and watches:
        return watch_status.run(watches, as_json=options.json)
    others = map(watch_status.as_object if options.json else watch_status.text, watches)
    return mount_status.run(options.mount_point, options.json, list(others))


def top(options: argparse.Namespace) -> int:
    """Show what is read in mounts."""
    from zsofs.mount.top import command

    return command.run(_points(options), once=options.once, as_json=options.json)


def metrics(options: argparse.Namespace) -> int:
    """Print the counters of mounts for Prometheus."""
    from zsofs.mount.control import metrics as mount_metrics

    return mount_metrics.run(_points(options), options.textfile, per_disc=options.per_disc)


def web(options: argparse.Namespace) -> int:
    """Serve the web page."""
    import os

    from zsofs.system.xdg import system_folder, user_folder
    from zsofs.web import command
    from zsofs.web.access import checked_host, parse_listen

    folder = system_folder() if os.geteuid() == 0 else user_folder()
    token_file = Path(options.token_file) if options.token_file else folder / "web-token"
    listen, hosts = parse_listen(options.listen), list(map(checked_host, options.host))
    return command.run(_points(options), listen, hosts, token_file)


def _points(options: argparse.Namespace) -> list[str]:
    """Return the paths of the mount points that a command line names."""
    from zsofs.mount.named_mount import path_of

    return list(map(path_of, options.mount_points))


def list_discs(options: argparse.Namespace) -> int:
    """List the discs of a directory or mount."""
    from zsofs.cli import list_command
    from zsofs.mount.named_mount import directory_of

    path = directory_of(options.path)
    return list_command.run(path, options.json, options.allow_links_to, options.cd)


def pack(options: argparse.Namespace) -> int:
    """Pack disc images."""
    from zsofs.pack.presets import packing

    how = packing(options.purpose, options.codec, options.level, options.block_size)
    return _copy(options, how)


def unpack(options: argparse.Namespace) -> int:
    """Unpack disc images."""
    return _copy(options, None)


def _copy(options: argparse.Namespace, how: "Packing | None") -> int:
    """Pack with the preset *how*, or unpack if it is None."""
    from zsofs.console import logging_setup
    from zsofs.discs.cd_forms import CdForm
    from zsofs.inspection.verify_cache import remember_written
    from zsofs.pack import batch
    from zsofs.pack.jobs import STANDARD_OUTPUT, PackRequest
    from zsofs.pack.packer import PackOptions
    from zsofs.pack.report import Reporter
    from zsofs.system.mountpoint import check_link_directories

    logging_setup.to_terminal(40 if options.quiet else 30)
    request = PackRequest(
        options.inputs,
        options.output,
        options.recursive,
        how,
        PackOptions(
            verify=not options.no_verify,
            digests=how is None or not options.no_digests,
            replace=options.force,
        ),
        options.delete_source,
        how is not None and options.any,
        how is not None and options.measure,
        check_link_directories(options.allow_links_to),
        None if options.cd == "auto" else CdForm(options.cd),
    )
    reporter = Reporter(
        quiet=options.quiet,
        as_json=options.json,
        to_stdout=options.output != STANDARD_OUTPUT,
    )
    return batch.run(request, reporter, remember_written)


def watch(options: argparse.Namespace) -> int:
    """Pack what arrives in directories."""
    from zsofs.cli.watch_args import settings_of
    from zsofs.watch import command

    return command.run(settings_of(options))


def info(options: argparse.Namespace) -> int:
    """Print details of disc images."""
    from zsofs.console import logging_setup
    from zsofs.inspection.info import run

    logging_setup.to_terminal(30)
    return run(options.paths, options.json)


def verify(options: argparse.Namespace) -> int:
    """Check disc images."""
    from zsofs.console import logging_setup
    from zsofs.discs.dat import load
    from zsofs.inspection.verify import VerifyRequest, run
    from zsofs.inspection.verify_report import VerifyReporter
    from zsofs.system.mountpoint import check_link_directories

    logging_setup.to_terminal(40 if options.quiet else 30)
    request = VerifyRequest(
        options.paths,
        [load(Path(path)) for path in options.dats],
        options.quick,
        not options.no_cache,
        check_link_directories(options.allow_links_to),
    )
    return run(request, VerifyReporter(quiet=options.quiet, as_json=options.json))


def service(options: argparse.Namespace) -> int:
    """Install, list or remove services."""
    if getattr(options, "web", False):
        from zsofs.web import service as page

        return page.run(options)
    from zsofs.cli.watch_args import settings_of_service
    from zsofs.console.stdio import say
    from zsofs.errors import UsageError
    from zsofs.mount import config
    from zsofs.mount import service as services
    from zsofs.watch import service as watches

    if options.action == "list":
        code = services.run(options)
        listed = watches.listed(user=options.user)
        if listed:
            say(f"\n{listed}")
        return code
    is_watch = watches.exists(config.check_name(options.name), user=options.user)
    if options.action == "remove":
        return watches.remove(options) if is_watch else services.run(options)
    if options.watch:
        if services.exists(options.name, user=options.user):
            raise UsageError(f"the service {options.name} is a mount; use another name")
        settings = settings_of_service(options)
        return watches.install(options, settings, options.values.get("setuid"))
    if is_watch:
        raise UsageError(f"the service {options.name} is a watch; use another name")
    return services.run(options)


def uninstall(options: argparse.Namespace) -> int:
    """Remove a portable installation; only a refusal returns."""
    import os
    import sys

    from zsofs.errors import UsageError
    from zsofs.system.own_processes import is_portable

    if not is_portable():
        raise UsageError(
            "zsofs uninstall removes only a portable installation; remove the Debian package with:"
            " sudo apt purge zsofs; what ./bootstrap.sh has installed, in the clone with:"
            " ./bootstrap.sh uninstall; and with pipx: pipx uninstall zsofs"
        )
    script = Path(sys.executable).parent.parent / "uninstall.sh"
    os.execv("/bin/sh", ["sh", str(script), *(["--purge"] if options.purge else [])])
