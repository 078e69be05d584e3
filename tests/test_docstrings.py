import pytest
from numpydoc.validate import validate

import napari_kmeans

# Extended summary, examples, cross-references: good where they help, not a must.
NOT_ASKED_FOR = {"ES01", "EX01", "SA01"}


@pytest.mark.parametrize("name", napari_kmeans.__all__)
def test_public_docstring_is_complete(name):
    found = validate(f"napari_kmeans.{name}")["errors"]
    assert [error for error in found if error[0] not in NOT_ASKED_FOR] == []
