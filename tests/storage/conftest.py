import pytest

from studio.storage.shelf import Shelf


@pytest.fixture
def shelf(tmp_path) -> Shelf:
    """A shelf whose folder does not exist yet."""
    return Shelf(tmp_path / "shelf")
