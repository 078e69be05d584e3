import os
import shutil

import hypothesis
import pytest
import skimage.data
from PIL import Image

# Tests neither read the settings of napari's user nor write them.
os.environ["NAPARI_CONFIG"] = ""

# A busy machine is no fault of what is tested.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.fixture(scope="module")
def photo_file(tmp_path_factory):
    """A JPEG that lies on its side, as from a camera, with EXIF to say so."""
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    sideways = Image.fromarray(skimage.data.astronaut()).resize((60, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways.save(path, exif=exif, quality=92)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch, photo_file):
    """A working directory with a photo."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(photo_file, tmp_path)
    return tmp_path
