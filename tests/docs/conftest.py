"""What tests of the documentation share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def parsed_docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Sphinx keeps the sources parsed: pages of all forms are built from them."""
    return tmp_path_factory.mktemp("parsed-docs")
