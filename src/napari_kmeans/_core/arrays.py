"""Short names for the kinds of arrays that pass between the rooms of the core."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Floats", "Indices", "Labels", "Mask"]

# Of any real dtype: images, colors, points.
Array: TypeAlias = NDArray[Any]
# float64: centers, errors, weights.
Floats: TypeAlias = NDArray[np.float64]
# What NumPy takes as an index.
Indices: TypeAlias = NDArray[np.intp]
# uint8 or uint16, an index into a palette.
Labels: TypeAlias = NDArray[np.unsignedinteger[Any]]
Mask: TypeAlias = NDArray[np.bool_]
