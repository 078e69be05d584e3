import inspect

import pytest
from numpydoc.validate import validate

import napari_kmeans

# Extended summary, examples, cross-references: good where they help, not a must. What
# is returned has a name, also where it is one array.
NOT_ASKED_FOR = {"ES01", "EX01", "SA01", "RT02"}
# Classes are read, not built, by their users: attributes without parameters.
NOT_ASKED_FOR_OF_CLASSES = {"PR01"}


@pytest.mark.parametrize("name", napari_kmeans.__all__)
def test_public_docstring_is_complete(name):
    ignored = NOT_ASKED_FOR
    if inspect.isclass(getattr(napari_kmeans, name)):
        ignored = ignored | NOT_ASKED_FOR_OF_CLASSES

    found = validate(f"napari_kmeans.{name}")["errors"]

    assert [error for error in found if error[0] not in ignored] == []
