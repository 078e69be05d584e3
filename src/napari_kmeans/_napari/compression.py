"""What a result costs and saves: a part of the dock that folds.

`Compression` writes the error of the result that is listed at once, and measures the
file that it would be saved in only while somebody has the part open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magicgui.widgets import Label

from napari_kmeans._napari.folds import Fold
from napari_kmeans._napari.jobs import Newest
from napari_kmeans._napari.names import wrap_text
from napari_kmeans._napari.numbers import file_text, numbers_text
from napari_kmeans._napari.record import Record
from napari_kmeans._napari.writer import file_size

__all__ = ["Compression"]

# A layer as `file_size` takes it: data, attributes, type, and labels if known.
Described = tuple[Any, dict[str, Any], str, Any]


class Compression(Fold):
    """Say what the listed result costs and saves."""

    def __init__(self) -> None:
        super().__init__(
            "Compression", "Show or hide what the result costs in error, and saves"
        )
        self.numbers = Label(
            tooltip="Of the result that is listed. The squared error is that of the\n"
            "mean pixel, summed over channels. PSNR is the same in decibels: more\n"
            "is better, and from some 40 dB on hardly anyone sees a difference.\n"
            "The file is that of Save > Small file."
        )
        wrap_text(self.numbers.native)
        self.put(self.numbers.native)
        self._job = Newest(self)
        self._record: Record | None = None
        self._describe: Callable[[], Described] | None = None
        self._is_measured = False
        self.toggled.connect(self._measure)

    def show_result(
        self, record: Record | None, describe: Callable[[], Described] | None
    ) -> None:
        """Write the numbers of a result, or of none.

        `describe` returns its layer, to be measured; None if that would take too long.
        """
        self.leave()
        self._record, self._describe = record, describe
        self._forget()
        self._measure()

    def leave(self) -> None:
        """Ask the thread to end."""
        self._job.leave()

    def stop(self) -> None:
        """Measure nothing now, but again when somebody opens the part."""
        if self._job.is_busy:
            self._job.leave()
            self._forget()

    def _forget(self) -> None:
        record, self._is_measured = self._record, False
        self._write("" if record is None else numbers_text(record))

    def _measure(self) -> None:
        """Measure the file, if somebody looks and it is not measured yet."""
        record, describe, text = self._record, self._describe, self.numbers.value
        is_asked = self.is_open and not self._is_measured
        if not is_asked or record is None or describe is None or not text:
            return
        self._is_measured, described = True, describe()
        self._write(f"{text}\nMeasuring the file")
        self._job.start(
            lambda _: file_size(*described),
            returned=lambda file: self._write(f"{text}\n{file_text(record, file)}"),
            failed=lambda error: self._write(
                f"{text}\nThe file could not be measured: {error}"
            ),
        )

    def _write(self, text: str) -> None:
        self.numbers.value = text
        # All lines have room at once, and not only after the next drawing.
        layout = self.layout()
        assert layout is not None
        layout.activate()
