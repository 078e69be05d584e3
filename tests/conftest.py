import os

# Tests neither read the settings of napari's user nor write them.
os.environ["NAPARI_CONFIG"] = ""
