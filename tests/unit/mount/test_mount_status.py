"""What daemons and command lines of different versions say to each other about a mount."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mount.control.test_status_text import ANYTHING, REPLY
from tests.support.mounting import DATA
from zsofs.mount.control.mount_status import (
    CacheStatus,
    DaemonStatus,
    DiscStatus,
    FileStatus,
    MountStatus,
    NotShownStatus,
    PreloadStatus,
    ReaderStatus,
    ReadStatus,
    SettingsStatus,
    SourceStatus,
)
from zsofs.mount.control.status import text

COUNT = st.integers(-(1 << 63) + 1, (1 << 63) - 1)
TEXT = st.text(st.characters(codec=None))
TEXTS = st.lists(TEXT).map(tuple)
ROWS = st.lists(st.builds(FileStatus, TEXT, TEXT)).map(tuple)
READERS = st.lists(st.builds(ReaderStatus, COUNT, TEXT, TEXT, COUNT)).map(tuple)
STATUS = st.builds(
    MountStatus,
    st.builds(DaemonStatus, TEXT, COUNT, st.floats(-1e15, 1e15), COUNT),
    st.builds(
        SettingsStatus,
        TEXT,
        TEXT,
        TEXT,
        st.none() | TEXT,
        TEXTS,
        TEXTS,
        TEXTS,
        st.booleans(),
        TEXT,
        st.booleans(),
    ),
    st.builds(SourceStatus, TEXT, TEXT, TEXT),
    st.builds(DiscStatus, COUNT, COUNT, COUNT, st.booleans(), COUNT),
    st.builds(NotShownStatus, ROWS, COUNT, ROWS, COUNT, ROWS, ROWS, COUNT),
    st.builds(
        ReadStatus,
        READERS,
        st.builds(CacheStatus, COUNT, COUNT, COUNT, COUNT),
        COUNT,
        COUNT,
        COUNT,
        COUNT,
        st.floats(-1e15, 1e15),
        st.builds(PreloadStatus, st.booleans(), *[COUNT] * 6),
    ),
)


def recorded(name: str) -> dict[str, Any]:
    """A line that a daemon of an earlier version sent."""
    found: dict[str, Any] = json.loads((DATA / name).read_text())
    return found


@given(STATUS)
def test_a_status_is_the_same_after_its_way_through_json(status: MountStatus) -> None:
    back = MountStatus.from_json(json.loads(json.dumps(status.to_json())))
    assert back == status
    assert back.malformed == frozenset()


def test_the_parts_share_no_names_in_json() -> None:
    parts = [getattr(MountStatus(), one.name) for one in dataclasses.fields(MountStatus)][:-1]
    names = [one.name for part in parts for one in dataclasses.fields(part)]
    assert len(names) == len(set(names))
    assert set(MountStatus().to_json()) == set(names) == REPLY.keys() - {"ok"}


def test_fields_of_a_newer_daemon_are_ignored() -> None:
    newer = REPLY | {
        "temperature": 21.5,
        "remote": {"host": "nas", "cache": {"bytes": 7}},
        "cache": REPLY["cache"] | {"second_level": {"bytes": 1}},
        "readers": [row | {"user": 1000} for row in REPLY["readers"]],
    }
    status = MountStatus.from_json(newer)
    assert status == MountStatus.from_json(REPLY)
    assert {"ok": True} | status.to_json() == REPLY
    assert status.malformed == frozenset()


@pytest.mark.parametrize("kept", sorted(REPLY))
def test_each_field_alone(kept: str) -> None:
    """All others have their defaults, and it has its value."""
    status = MountStatus.from_json({kept: REPLY[kept]})
    expected = MountStatus().to_json() | {kept: REPLY[kept]}
    assert {"ok": True} | status.to_json() == {"ok": True} | expected


@given(st.sampled_from(sorted(REPLY.keys() - {"ok"})), ANYTHING)
def test_a_value_of_another_type(name: str, odd: object) -> None:
    """It is named, the field has its default, and nothing else changes."""
    status = MountStatus.from_json(REPLY | {name: odd})
    said = status.to_json()
    assert {"ok": True} | said | {name: REPLY[name]} == REPLY
    if name in status.malformed:
        assert said[name] == MountStatus().to_json()[name]
    else:
        assert type(said[name]) is type(REPLY[name]) or name == "titles"


def test_a_status_of_an_earlier_daemon() -> None:
    """It knows nothing of symlinks, nor of which discs are compressed, nor of waiting reads."""
    reply = recorded("status-without-counts.json")
    status = MountStatus.from_json(reply)
    new = {
        "allow_links_to",
        "cd",
        "compressed_discs",
        "counting",
        "links_not_followed",
        "links_not_followed_total",
        "plain_discs",
        "preload",
        "waiting",
        "waiting_seconds",
    }
    assert reply.keys() == REPLY.keys() - new
    assert {"ok": True} | status.to_json() == MountStatus().to_json() | reply
    assert status.malformed == frozenset()
    lines = text(status).splitlines()
    assert lines[0] == "/srv/iso"
    (cut,) = (line for line in lines if "Cut.dax" in line)
    assert cut.endswith("its tables alone take 1112 bytes, the file has 700")
    assert lines[-1].split(maxsplit=3) == ["bash", "17626", "1", "Okami (Europe).zso"]
