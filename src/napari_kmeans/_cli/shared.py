"""Images that are to share a palette."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from napari_kmeans._cli.running import reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_kmeans._cli.inputs import Source
    from napari_kmeans._files.read import ImageFile

__all__ = ["Group", "read_group"]


class Group(NamedTuple):
    """Images that can share a palette, and of each source why it cannot, or None."""

    images: list[ImageFile]
    faults: list[str | None]


def read_group(sources: Sequence[Source]) -> Group:
    """Read the images of the kind that most are of, or the first of such kinds."""
    from napari_kmeans._compression import pixel_kind
    from napari_kmeans._files.read import decode_image

    images: list[ImageFile] = []
    faults: list[str | None] = []
    members = []
    for source in sources:
        try:
            images.append(decode_image(source.read()))
            members.append(source.name)
            faults.append(None)
        except (OSError, ValueError) as error:
            faults.append(reason(error, source.name))
    kinds = [pixel_kind(image) for image in images]
    if len(set(kinds)) < 2:
        return Group(images, faults)
    usual = Counter(kinds).most_common(1)[0][0]
    rule = (
        f"pixels share no palette with the {usual} pixels of "
        f"{members[kinds.index(usual)]}: all must be of one dtype, and either gray, "
        "RGB and RGBA or of one number of channels"
    )
    odd = iter(kinds)
    for place, fault in enumerate(faults):
        if fault is None and (kind := next(odd)) != usual:
            faults[place] = f"{kind} {rule}"
    alike = zip(images, kinds, strict=True)
    return Group([image for image, kind in alike if kind == usual], faults)
