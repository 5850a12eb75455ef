"""Regions of games by their IDs."""

import pytest

from zsofs.discs.region import region_of


@pytest.mark.parametrize(
    ("game_id", "region"),
    [
        ("SLUS_209.63", "America"),
        ("SCES_500.03", "Europe"),
        ("SLPM_650.01", "Japan"),
        ("SLKA_250.01", "Korea"),
        ("SCAJ_200.01", "Asia"),
        ("ULUS-10041", "America"),
        ("ULJS-00001", "Japan"),
        ("NPHG-00001", "Asia"),
        ("", ""),
        ("HOMEBREW", ""),
        ("SLXS_000.00", ""),
    ],
)
def test_region(game_id: str, region: str) -> None:
    assert region_of(game_id) == region
