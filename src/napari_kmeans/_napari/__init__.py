"""The napari plugin: `widget` is its window, `quantize_layer` what its button does."""
