"""The unit of the web page: systemd accepts it, and it is sandboxed."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.cli.test_messages import refused
from zsofs.system.privileges import Account
from zsofs.web.access import Listen
from zsofs.web.service import unit_text

ME = Account("daemon", 1, 1, (1,), "/home/me")
ODD = replace(ME, home='/home/a 50%h "$x')


@pytest.mark.parametrize("who", [ME, ODD, None])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "192.0.2.1"])
def test_systemd_accepts_the_unit(tmp_path: Path, who: Account | None, address: str) -> None:
    unit = tmp_path / "zsofs-web.service"
    unit.write_text(unit_text(Listen(address, 8467), who))
    manager = "--system" if who else "--user"
    done = subprocess.run(
        ["systemd-analyze", manager, "--man=no", "verify", unit],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
    )
    said = [line for line in done.stderr.splitlines() if "zsofs-web" in line]
    assert said == []


def test_a_system_service_has_a_user_and_a_sandbox() -> None:
    text = unit_text(Listen("0.0.0.0", 80), ME)
    for line in ("User=daemon", "NoNewPrivileges=yes", "ProtectSystem=strict"):
        assert line in text.splitlines()
    assert "CapabilityBoundingSet=\n" in text
    assert 'ReadWritePaths="-/home/me/.cache/zsofs" /var/cache\n' in text
    assert '-m 700 "/home/me/.cache/zsofs"\n' in text
    assert '"-/home/a 50%%h \\"$x/.cache/zsofs"' in unit_text(Listen("0.0.0.0", 80), ODD)
    assert '"/home/a 50%%h \\"$$x/.cache/zsofs"' in unit_text(Listen("0.0.0.0", 80), ODD)
    assert "web --listen 0.0.0.0:80\n" in text
    assert "User=" not in unit_text(Listen("0.0.0.0", 80), None)


@pytest.mark.parametrize(
    ("address", "who", "waits"),
    [
        ("192.0.2.1", ME, True),
        ("2001:db8::1", ME, True),
        ("0.0.0.0", ME, False),
        ("::", ME, False),
        ("127.0.0.1", ME, False),
        ("192.0.2.1", None, False),  # the service manager of a user has no such target
    ],
)
def test_an_address_that_comes_after_the_boot(
    address: str, who: Account | None, waits: bool
) -> None:
    text = unit_text(Listen(address, 80), who)
    for name in ("Wants", "After"):
        assert (f"\n{name}=network-online.target\n" in text) == waits
    assert ("\nAfter=network.target\n" in text) != waits


def test_the_group_of_views() -> None:
    text = unit_text(Listen("127.0.0.1", 80), ME, group="zsofs")
    assert "User=daemon\nSupplementaryGroups=zsofs\n" in text
    assert "SupplementaryGroups=" not in unit_text(Listen("127.0.0.1", 80), ME)


def test_host_names_of_the_page() -> None:
    text = unit_text(Listen("::1", 80), ME, ["discs.example.org", "nas.lan"])
    assert "web --listen [::1]:80 --host discs.example.org --host nas.lan\n" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("install",), "required: NAME, SOURCE, MOUNTPOINT"),
        (("install", "a", "b"), "required: MOUNTPOINT"),
        (("install", "--web", "a"), "--web takes no NAME"),
        (("install", "--listen", "127.0.0.1:1", "a", "b", "c"), "only for the web page"),
        (("install", "--host", "nas", "a", "b", "c"), "--host is only for the web page"),
        (("install", "--user", "--web", "--view-group", "0"), "only for root"),
        (("remove",), "required: NAME"),
        (("remove", "--web", "a"), "--web takes no NAME"),
    ],
)
def test_arguments(words: tuple[str, ...], message: str) -> None:
    assert message in refused(2, "service", *words)
