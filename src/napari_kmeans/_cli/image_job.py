"""One image that is written in few colors, and what is told of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_kmeans._cli.outputs import STDOUT
from napari_kmeans._cli.running import Outcome, one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_kmeans._cli.inputs import Source
    from napari_kmeans._compression import Compressed, Recipe
    from napari_kmeans._files.read import ImageFile

    Step = Callable[[str], object]

__all__ = ["ImageJob"]


class ImageJob(NamedTuple):
    """One image to write in few colors."""

    source: Source
    # The file to write, or `STDOUT`; a name that tells the format stands for it.
    target: str
    format_name: str
    picture: str | None
    recipe: Recipe
    # A palette that is given; None to find one.
    palette: NDArray[Any] | None
    force: bool
    skip_if_larger: bool
    in_report: bool
    # Why it cannot be done, if that is known.
    fault: str | None = None

    @property
    def name(self) -> str:
        """What the image is called."""
        return self.source.name

    @property
    def n_steps(self) -> int:
        """Count the iterations, and reading, mapping and writing."""
        return self.recipe.iters + 4

    def do(self, step: Step) -> Outcome:
        """Read, compress and write the image."""
        from napari_kmeans._compression import compress, compress_to, count_distinct
        from napari_kmeans._files.read import decode_image
        from napari_kmeans._files.replace import replace_file

        if self.fault is not None:
            raise ValueError(self.fault)
        step("reading")
        content = self.source.read()
        image = decode_image(content)
        step("fitting")
        if self.palette is None:
            done = compress(
                image, self.format_name, self.recipe, lambda: step("fitting")
            )
        else:
            done = compress_to(image, self.format_name, self.palette, self.recipe)
        step("writing")
        size, n_colors = len(content), count_distinct(image)
        is_skipped = self.skip_if_larger and len(done.content) >= size
        if not is_skipped and self.target != STDOUT:
            replace_file(self.target, done.content, overwrite=self.force)
        outcome = self._outcome(image, done, size, n_colors, is_skipped)
        if self.picture is not None and not is_skipped:
            self._draw(image, done, size, n_colors)
        return outcome

    def _outcome(
        self,
        image: ImageFile,
        done: Compressed,
        size: int,
        n_colors: int | None,
        is_skipped: bool,
    ) -> Outcome:
        """Tell what came out."""
        from napari_kmeans._pictures.display import counted_text, hex_color

        size_after = len(done.content)
        facts: dict[str, Any] = {
            "input": self.source.name,
            "output": None if is_skipped else self.target,
            "bytes_before": size,
            "bytes_after": size_after,
            "colors_before": n_colors,
            "colors_after": done.n_colors,
            "lossless": done.mse == 0,
            "mse": done.mse,
            "psnr": done.psnr,
            "n_iter": done.n_iter,
            "converged": done.converged,
            "palette": [hex_color(color) for color in done.palette],
            "counts": done.counts.tolist(),
        }
        figures = (
            f"{size:,} -> {size_after:,} bytes (ratio {size / size_after:.2f}), "
            f"{counted_text(n_colors)} -> {counted_text(done.n_colors, 'color')}, "
            f"{_quality(done.psnr)}"
        )
        if is_skipped:
            text = f"{self.source.name}: not written, as it would not be smaller"
            return Outcome("skipped", one_line(f"{text}: {figures}"), facts)
        text = one_line(f"{self.source.name} -> {self.target}: {figures}")
        detail = ""
        if done.n_iter is not None:
            end = "converged" if done.converged else "not converged"
            detail = f"{counted_text(done.n_iter, 'iteration')}, {end}"
        return Outcome(
            "done",
            text,
            facts,
            detail,
            content=done.content if self.target == STDOUT else None,
            section=self._section(image, done, size, n_colors)
            if self.in_report
            else "",
        )

    def _section(
        self, image: ImageFile, done: Compressed, size: int, n_colors: int | None
    ) -> str:
        """Write the part of the report."""
        from napari_kmeans._pictures.display import counted_text, middle_plane
        from napari_kmeans._pictures.report import Comparison, render_section

        size_after = len(done.content)
        shape = " x ".join(str(n) for n in image.pixels.shape)
        return render_section(
            Comparison(
                one_line(self.source.path.name),
                middle_plane(image.pixels, image.has_channels),
                middle_plane(done.image.pixels, done.image.has_channels),
                done.palette,
                done.counts,
                [
                    ("File", self.source.path.name, Path(self.target).name),
                    ("Bytes", f"{size:,}", f"{size_after:,}"),
                    ("Share of the bytes", "100%", f"{size_after / size:.1%}"),
                    ("Colors", counted_text(n_colors), counted_text(done.n_colors)),
                    ("Shape", shape, ""),
                    ("Type of pixels", str(image.pixels.dtype), ""),
                    ("PSNR", "", _quality(done.psnr).removeprefix("PSNR ")),
                    ("Mean squared error", "", f"{done.mse:.4g}"),
                ],
            )
        )

    def _draw(
        self, image: ImageFile, done: Compressed, size: int, n_colors: int | None
    ) -> None:
        """Write the picture of before and after."""
        from napari_kmeans._files.read import ImageFile
        from napari_kmeans._files.replace import replace_file
        from napari_kmeans._files.write import encode_image
        from napari_kmeans._pictures.charts import Panel, draw_before_after
        from napari_kmeans._pictures.display import counted_text, middle_plane

        picture = str(self.picture)
        before, after = (
            Panel(
                middle_plane(shown.pixels, shown.has_channels),
                Path(name).name,
                f"{n_bytes:,} bytes, {counted_text(n, 'color')}",
            )
            for shown, name, n_bytes, n in (
                (image, self.source.path.name, size, n_colors),
                (done.image, self.target, len(done.content), done.n_colors),
            )
        )
        drawn = ImageFile(draw_before_after(before, after, done.palette))
        replace_file(picture, encode_image(picture, drawn), overwrite=self.force)


def _quality(decibels: float) -> str:
    """Name a peak signal-to-noise ratio."""
    return "lossless" if decibels == math.inf else f"PSNR {decibels:.2f} dB"
