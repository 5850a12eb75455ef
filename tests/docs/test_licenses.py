"""The licenses of the packages that come with the Debian package."""

from pathlib import Path

import pytest

from release.environment import licenses


@pytest.mark.parametrize(
    ("said", "license"),
    [
        ("License-Expression: BSD-3-Clause", "BSD-3-Clause"),
        ("License: MIT", "MIT"),
        ("Classifier: License :: OSI Approved :: MIT License", "MIT License"),
        ("Classifier: Typing :: Typed", "see below"),
    ],
)
def test_a_license_is_named_as_its_package_does(tmp_path: Path, said: str, license: str) -> None:
    information = tmp_path / "some_package-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: some-package\nVersion: 1.0\n{said}\n"
    )
    (information / "LICENSE").write_text("All of it.")
    assert licenses(tmp_path) == [("some-package 1.0", license, ["All of it."])]
