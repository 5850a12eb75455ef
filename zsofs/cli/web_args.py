"""Options and help of `zsofs web`."""

from zsofs.cli.command_parser import Commands, add_command

_DESCRIPTION = """\
Serves a web page that shows the library, what is read now, and why reads were slow. Without an
argument, it shows all your mounts; as root, the mounts of all users. The page is at
http://127.0.0.1:8467/ and only programs on this computer can open it. At any other address, it asks
for the token. Actions, such as verifying a disc, always need the token.

The token is in ~/.config/zsofs/web-token, as root in /etc/zsofs/web-token; it is made at the first
start. The page needs the Python package h11.
"""

_EXAMPLES = """\
examples:
  zsofs web                              for this computer
  zsofs web --listen 0.0.0.0:8467        for the network, with the token
  zsofs web --host discs.example.org     behind a reverse proxy on this computer
"""


def add(commands: Commands) -> None:
    """Add `zsofs web`."""
    web = add_command(
        commands, "web", "show library and reads in a browser", _DESCRIPTION, _EXAMPLES
    )
    web.add_argument(
        "mount_points",
        nargs="*",
        metavar="MOUNTPOINT|NAME",
        help="only these mounts: mount points, or names of their configs (default: all)",
    )
    web.add_argument(
        "--listen",
        metavar="ADDRESS:PORT",
        default="127.0.0.1:8467",
        help="IP address and port of the page (default: 127.0.0.1:8467)",
    )
    web.add_argument(
        "--host",
        metavar="NAME",
        action="append",
        default=[],
        help="further host name of the page, such as that of a reverse proxy; the page then asks"
        " for the token (may be repeated)",
    )
    web.add_argument(
        "--token-file", metavar="PATH", help="file with the token (default: see above)"
    )
