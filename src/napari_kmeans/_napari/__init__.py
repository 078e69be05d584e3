"""The napari plugin."""

from napari_kmeans._napari._widget import QuantizeWidget

__all__ = ["QuantizeWidget"]
