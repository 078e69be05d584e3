"""The colors in view are those that the result has there."""

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Image, Labels
from numpy.testing import assert_array_equal
from skimage import data

from napari_kmeans._core import color_counts
from napari_kmeans._napari import computation, layers, visible_colors
from napari_kmeans._napari.computation import quantize_source
from napari_kmeans._napari.kept_counts import KeptCounts
from napari_kmeans._napari.layers import rgba_of
from napari_kmeans._napari.placement import Screen, coarse_part, visible_part
from napari_kmeans._napari.quantize_layer import prepare
from napari_kmeans._napari.settings import Settings
from napari_kmeans._napari.visible_colors import Asked, color_visible

RGB = data.astronaut()[100:180, 150:250]
CHANNELS = np.moveaxis(RGB, -1, 0).astype(np.uint16) * 100
STACK = np.stack([RGB[..., 0], 255 - RGB[..., 1], RGB[..., 2] // 2]).astype("u2") * 97
FLOATS = STACK.astype(np.float32) / 7
FLOATS[:, 3:9, 5:30] = np.nan
RGBA = np.dstack([RGB, RGB[..., 1]])
RGBA[20:40, 20:40, 3] = 0
MASK = np.tri(*RGB.shape[:2], dtype=bool)
MASKS = np.stack([MASK, ~MASK, MASK[::-1]])
# All of the image in fewer pixels, and a part of it in all pixels.
FAR, NEAR = Screen((41.3, 52.7), 0.37, (90, 90)), Screen((50, 70), 4, (90, 90))


def ignore(_):
    """Hear of no progress."""


def ask(images, settings=None, *, mask=None, screen=FAR, point=None, **how):
    """Ask for what a screen shows of layers."""
    made = [x if isinstance(x, Image) else Image(x, **how) for x in images]
    request = prepare(made, settings or Settings(k=5), mask)
    viewer = ViewerModel()
    viewer.add_layer(made[0])
    if point is not None:
        viewer.dims.point = point
    first, channels, dims = made[0], request.source.channels, viewer.dims
    part = visible_part(first, dims, screen, channels)
    coarse = coarse_part(first, dims, visible_colors.MOST_SAMPLED, channels)
    return Asked(request.source, request.settings, part, coarse, 0)


def show(asked, before=None, count=None):
    return color_visible(asked, before, count or KeptCounts(), ignore)


def result_of(asked):
    """Return what the result looks like where pixels are visible, and its record."""
    source, (level, spans, _) = asked.source, asked.part
    outcome = quantize_source(source, asked.settings, ignore)
    numbers = np.asarray(outcome.labels[level])
    spans = list(spans)
    if source.channels is not None:
        del spans[source.channels.axis]
        if source.channels.axis > 0:
            numbers = numbers.squeeze(source.channels.axis)
    for axis, span in enumerate(spans):
        numbers = np.take(numbers, np.arange(numbers.shape[axis])[span.places], axis)
    if source.channels is not None and source.channels.axis > 0:
        numbers = np.expand_dims(numbers, source.channels.axis)
    colors = rgba_of(outcome.record.palette, source.look)
    rgba = np.vstack([np.zeros(4), np.rint(colors * 255)]).astype(np.uint8)
    return rgba[numbers], outcome.record


SETTINGS = [
    pytest.param(Settings(k=5), id="plain"),
    pytest.param(Settings(k=40, iters=2), id="many"),
    pytest.param(Settings(k=5, init="k-means++", rng=3), id="drawn"),
]


@pytest.mark.parametrize("screen", [FAR, NEAR], ids=["far", "near"])
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize(
    ("images", "how"),
    [
        pytest.param([RGB], {"rgb": True}, id="rgb"),
        pytest.param([RGB.astype(np.uint16) * 257], {"rgb": True}, id="rgb16"),
        pytest.param([STACK], {}, id="stack"),
        pytest.param([FLOATS], {}, id="floats"),
        pytest.param([STACK > 9000], {}, id="bool"),
        pytest.param(list(CHANNELS), {"colormap": "red"}, id="layers"),
        pytest.param([da.from_array(STACK, 30)], {}, id="dask"),
        pytest.param([zarr.array(RGB, chunks=(30, 30, 3))], {"rgb": True}, id="zarr"),
        pytest.param([np.asfortranarray(RGB)[::-1]], {"rgb": True}, id="strided"),
        pytest.param([RGB], {"rgb": True, "scale": (2, 3), "rotate": 20}, id="turned"),
    ],
)
def test_visible_colors_are_those_of_the_result(images, how, settings, screen):
    asked = ask(images, settings, screen=screen, **how)
    shown = show(asked)
    expected, record = result_of(asked)
    assert_array_equal(shown.pixels, expected)
    assert_array_equal(shown.record.palette, record.palette)
    assert_array_equal(shown.record.counts, record.counts)
    assert shown.note == ""


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_visible_colors_of_channels_are_those_of_the_result(axis):
    image = np.moveaxis(np.stack([CHANNELS, CHANNELS[::-1]]), 1, axis)
    asked = ask([image], Settings(k=5, channel_axis=axis), rgb=False)
    assert_array_equal(show(asked).pixels, result_of(asked)[0])


WEIGHTS = (None, "std", "contrast", (1.0, 0.01, 30.0))


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("slice_axis", [None, 0])
def test_channels_count_as_they_do_in_the_result(weights, slice_axis):
    strong = CHANNELS * np.array([1, 5, 0.02]).reshape(3, 1, 1)
    image = np.stack([strong, strong[:, ::-1] / 2]).astype(np.uint16)
    settings = Settings(
        k=5, channel_axis=1, slice_axis=slice_axis, channel_weights=weights
    )
    asked = ask([image], settings, rgb=False, point=(1, 0, 0, 0))
    shown = show(asked)
    own = slice(None)
    expected, record = result_of(asked)
    if slice_axis is not None:
        own = record.slices == 1
    else:
        assert_array_equal(shown.pixels, expected)
    assert_array_equal(shown.record.palette, record.palette[own])
    assert_array_equal(shown.record.counts, record.counts[own])


def test_channels_that_count_otherwise_are_fitted_anew():
    count, before, palettes = KeptCounts(), None, []
    layers = [Image(one) for one in CHANNELS * np.array([1, 5, 0.02]).reshape(3, 1, 1)]
    for weights in (*WEIGHTS, None):
        asked = ask(layers, Settings(k=5, channel_weights=weights))
        before = show(asked, before, count)
        assert_array_equal(before.pixels, result_of(asked)[0])
        palettes.append(before.record.palette.tolist())
    assert palettes[0] == palettes[-1]
    assert len({str(palette) for palette in palettes}) > 2


def test_what_is_fully_transparent_stays_so():
    asked = ask([RGBA], rgb=True)
    expected = result_of(asked)[0]
    rows, columns = (span.places for span in asked.part.spans)
    expected[RGBA[np.ix_(rows, columns)][..., 3] == 0] = 0
    assert (expected[..., 3] == 0).any()
    assert_array_equal(show(asked).pixels, expected)


@pytest.mark.parametrize(
    ("image", "mask"), [(RGB, MASK), (STACK, MASKS), (FLOATS, MASKS)]
)
def test_palette_is_that_of_the_mask(image, mask):
    asked = ask([image], mask=mask)
    assert_array_equal(show(asked).pixels, result_of(asked)[0])


@pytest.mark.parametrize("t", [0, 2])
@pytest.mark.parametrize("mask", [None, MASKS])
def test_slice_has_the_palette_that_the_result_gives_it(t, mask):
    asked = ask([STACK], Settings(k=4, slice_axis=0), mask=mask, point=(t, 0, 0))
    shown = show(asked)
    expected, record = result_of(asked)
    assert_array_equal(shown.pixels, expected)
    own = record.slices == t
    assert_array_equal(shown.record.palette, record.palette[own])
    assert_array_equal(shown.record.slices, record.slices[own])
    assert_array_equal(shown.record.counts, record.counts[own])


@pytest.mark.parametrize("axis", [1, 2])
def test_slices_that_are_displayed_have_a_palette_each(axis):
    asked = ask([STACK], Settings(k=4, slice_axis=axis), point=(1, 0, 0))
    assert_array_equal(show(asked).pixels, result_of(asked)[0])


@pytest.mark.parametrize(
    "settings",
    [
        Settings(palette=np.array([[0, 0, 0], [250, 120, 9], [255, 255, 255]], "u1")),
        Settings(k=6, fixed=np.array([[9, 200, 9]], np.uint8)),
        Settings(k=6, color_space="lab"),
        Settings(k=6, color_space="oklab"),
    ],
    ids=["given", "fixed", "lab", "oklab"],
)
def test_settings_are_followed(settings):
    asked = ask([RGB], settings, rgb=True)
    assert_array_equal(show(asked).pixels, result_of(asked)[0])


def test_level_in_view_is_mapped_to_the_palette_of_the_finest():
    pyramid = [RGB, RGB[::2, ::2], RGB[::4, ::4]]
    asked = ask([Image(pyramid, multiscale=True, rgb=True)])
    assert asked.part.level == 1
    assert_array_equal(show(asked).pixels, result_of(asked)[0])


# Dither.


@pytest.mark.parametrize(
    ("image", "center"),
    [(RGB, (40, 50)), (np.tile(RGB, (4, 4, 1)), (180, 190)), (STACK, (40, 50))],
)
def test_ordered_dither_is_that_of_the_result_where_pixels_are_large(image, center):
    settings = Settings(k=5, dither="ordered")
    asked = ask([image], settings, screen=Screen(center, 2, (99, 99)))
    shown = show(asked)
    assert_array_equal(shown.pixels, result_of(asked)[0])
    assert shown.note == ""


@pytest.mark.parametrize("image", [RGB, STACK])
def test_diffused_errors_are_those_of_the_result_where_planes_are_in_view(image):
    settings = Settings(k=5, dither="floyd-steinberg")
    asked = ask([image], settings, screen=Screen((40, 50), 1.01, (200, 200)))
    shown = show(asked)
    assert_array_equal(shown.pixels, result_of(asked)[0])
    assert shown.note == ""


@pytest.mark.parametrize("dither", ["ordered", "floyd-steinberg"])
def test_colors_are_the_nearest_where_dither_cannot_be_seen(dither):
    shown = show(ask([RGB], Settings(k=5, dither=dither)))
    assert shown.note.startswith("Preview without dither")
    assert_array_equal(shown.pixels, show(ask([RGB])).pixels)


def test_diffused_errors_of_a_part_of_a_plane_cannot_be_seen():
    screen = Screen((180, 190), 2, (99, 99))
    settings = Settings(k=5, dither="floyd-steinberg")
    shown = show(ask([np.tile(RGB, (4, 4, 1))], settings, screen=screen))
    assert shown.note.startswith("Preview without dither")


# What is kept.


@pytest.fixture
def calls(monkeypatch):
    """Give the names of what was counted, fitted and read since."""
    calls = []

    def follow(module, name):
        function = getattr(module, name)

        def following(*arguments, **keywords):
            calls.append(name)
            return function(*arguments, **keywords)

        monkeypatch.setattr(module, name, following)

    follow(visible_colors, "fitted_mask")
    follow(computation, "fit_image")
    follow(visible_colors, "read_array")
    return calls


def test_another_k_reads_nothing_again(calls):
    shown = show(ask([RGB]))
    calls.clear()
    again = show(ask([RGB], Settings(k=9)), shown)
    assert calls == ["fit_image"]
    assert_array_equal(again.pixels, show(ask([RGB], Settings(k=9))).pixels)


def test_a_k_of_before_is_not_fitted_again(calls):
    shown = show(ask([RGB]))
    again = show(ask([RGB], Settings(k=9)), shown)
    calls.clear()
    back = show(ask([RGB]), again)
    assert calls == []
    assert_array_equal(back.pixels, shown.pixels)
    assert back.record is shown.record


def test_another_place_is_read_and_nothing_fitted(calls):
    shown = show(ask([RGB]))
    calls.clear()
    near = show(ask([RGB], screen=NEAR), shown)
    assert calls == ["read_array"]
    assert_array_equal(near.pixels, show(ask([RGB], screen=NEAR)).pixels)


def test_another_slice_of_one_palette_is_not_fitted(calls):
    shown = show(ask([STACK]))
    calls.clear()
    show(ask([STACK], point=(2, 0, 0)), shown)
    assert calls == ["read_array"]


def test_another_slice_with_a_palette_of_its_own_is_fitted():
    settings = Settings(k=4, slice_axis=0)
    shown = show(ask([STACK], settings))
    asked = ask([STACK], settings, point=(2, 0, 0))
    assert_array_equal(show(asked, shown).pixels, result_of(asked)[0])


def test_pixels_are_the_same_object_where_nothing_is_new():
    shown = show(ask([RGB]))
    assert show(ask([RGB]), shown).pixels is shown.pixels


def test_another_look_shows_the_same_palette_in_other_colors(calls):
    shown = show(ask([STACK]))
    calls.clear()
    asked = ask([STACK], colormap="magenta")
    again = show(asked, shown)
    assert calls == []
    assert_array_equal(again.pixels, result_of(asked)[0])
    assert again.record.look == asked.source.look


def test_palette_is_known_where_pixels_have_not_changed_after_all(calls):
    count = KeptCounts()
    shown = show(ask([RGB]), count=count)
    calls.clear()
    again = show(ask([RGB])._replace(state=1), shown, count)
    assert calls == ["fitted_mask", "read_array"]
    assert again.record is shown.record


def test_pixels_that_have_changed_are_counted_again():
    shown = show(ask([RGB]))
    asked = ask([255 - RGB])._replace(state=1)
    assert_array_equal(show(asked, shown).pixels, result_of(asked)[0])


@pytest.mark.parametrize(
    "settings", [Settings(k=5, color_space="lab"), Settings(k=5, slice_axis=0)]
)
def test_counts_are_of_the_settings_that_they_depend_on(settings):
    image = RGB if settings.slice_axis is None else STACK
    shown = show(ask([image]))
    asked = ask([image], settings)
    assert_array_equal(show(asked, shown).pixels, result_of(asked)[0])


@pytest.fixture
def n_counts(monkeypatch):
    """Give a list that grows with each count of all pixels."""
    count_image, counts = computation.count_image, []

    def counting(image, axis, *arguments, counts=None, **keywords):
        if counts is None:
            n_counts.append(image.shape)
        return count_image(image, axis, *arguments, counts=counts, **keywords)

    n_counts = counts
    monkeypatch.setattr(computation, "count_image", counting)
    return n_counts


@pytest.mark.parametrize("slice_axis", [None, 0])
@pytest.mark.parametrize("lazily", [False, True])
def test_run_and_preview_count_for_each_other(n_counts, lazily, slice_axis):
    image = da.from_array(STACK, 30) if lazily else STACK
    asked, count = ask([image], Settings(k=5, slice_axis=slice_axis)), KeptCounts()
    first = show(asked, count=count)
    n_first = len(n_counts)
    assert n_first == (1 if slice_axis is None else 3)
    quantize_source(asked.source, asked.settings, ignore, count)
    again = show(asked._replace(state=1), count=count)
    # Levels of the lazy result that are not the finest are not counted.
    assert [shape for shape in n_counts if shape == n_counts[0]] == n_counts[:n_first]
    assert_array_equal(again.pixels, first.pixels)


# What takes too long to be counted.


class Slide:
    """A lazy pyramid that notes which levels are read."""

    def __init__(self):
        self.read = []
        image = np.tile(RGB, (4, 4, 1))
        levels = [image[:: 2**i, :: 2**i] for i in range(4)]
        lazy = [self._lazy(level, i) for i, level in enumerate(levels)]
        self.layer = Image(lazy, multiscale=True, rgb=True)
        self.levels = levels
        self.read.clear()

    def _lazy(self, level, number):
        def note(chunk):
            self.read.append(number)
            return chunk

        array = da.from_array(level, chunks=(40, 40, 3))
        return array.map_blocks(note, dtype=array.dtype, meta=level[:0])


@pytest.fixture
def little(monkeypatch):
    """Take lazy data for more than can be read."""
    monkeypatch.setattr(visible_colors, "_MOST_READ", 100)
    monkeypatch.setattr(visible_colors, "MOST_SAMPLED", 2000)


@pytest.mark.usefixtures("little")
def test_palette_of_a_slide_is_that_of_a_coarse_level():
    slide = Slide()
    asked = ask([slide.layer], screen=Screen((160, 200), 0.5, (400, 400)))
    slide.read.clear()
    shown = show(asked)
    assert shown.note.startswith("Preview of a sample's colors, until a run")
    assert set(slide.read) == {1, 3}
    expected = ask([Image(slide.levels[3], rgb=True)])
    assert_array_equal(shown.record.palette, result_of(expected)[1].palette)

    near = ask([slide.layer], screen=Screen((160, 200), 0.25, (400, 400)))
    slide.read.clear()
    again = show(near, shown)
    assert again.record is shown.record
    assert set(slide.read) == {2}


@pytest.mark.usefixtures("little")
def test_palette_of_a_slide_is_that_of_a_run_which_has_counted_it():
    slide, count = Slide(), KeptCounts()
    asked = ask([slide.layer])
    quantize_source(asked.source, asked.settings, ignore, count)
    slide.read.clear()
    shown = show(asked, count=count)
    assert shown.note == ""
    assert set(slide.read) == {asked.part.level}
    assert_array_equal(shown.pixels, result_of(asked)[0])


@pytest.mark.usefixtures("little")
def test_sample_of_a_slide_is_taken_inside_of_the_mask():
    slide = Slide()
    mask = np.zeros((320, 400), dtype=bool)
    mask[40:80, 80:200] = True
    shown = show(ask([slide.layer], mask=mask))
    coarse, inside = slide.levels[3], mask[4::8, 4::8]
    expected = ask([Image(coarse, rgb=True)], mask=inside)
    assert_array_equal(shown.record.palette, result_of(expected)[1].palette)


@pytest.mark.usefixtures("little")
def test_sample_of_a_lazy_stack_is_of_the_slice_in_view():
    stack = da.from_array(STACK, chunks=(1, 40, 40))
    shown = show(ask([stack], Settings(k=4), point=(1, 0, 0)))
    again = show(ask([stack], Settings(k=4), point=(2, 0, 0)), shown)
    for t, one in ((1, shown), (2, again)):
        expected = ask([STACK[t, ::2, ::2]], Settings(k=4))
        assert_array_equal(one.record.palette, result_of(expected)[1].palette)


@pytest.mark.parametrize("slice_axis", [None, 0])
def test_colors_that_are_too_many_are_those_of_a_sample(monkeypatch, slice_axis):
    monkeypatch.setattr(color_counts, "MAX_COUNTED", 4000)
    monkeypatch.setattr(visible_colors, "MOST_SAMPLED", 2000)
    noise = np.random.default_rng(0).random((3, 80, 100))
    settings = Settings(k=4, slice_axis=slice_axis)
    asked = ask([noise], settings, point=(1, 0, 0))
    shown = show(asked)
    assert shown.note == visible_colors._TOO_MANY
    palette = result_of(asked)[1].palette
    if slice_axis is not None:
        palette = palette.reshape(3, 4)[1]
    assert_array_equal(np.abs(shown.record.palette - palette) < 0.05, True)


def test_an_array_that_does_not_fit_in_memory_is_not_read_as_a_whole(monkeypatch):
    monkeypatch.setattr(layers, "fits_in_memory", lambda _: False)
    monkeypatch.setattr(visible_colors, "fits_in_memory", lambda _: False)
    monkeypatch.setattr(visible_colors, "_MOST_READ", 100)
    shown = show(ask([STACK], point=(1, 0, 0)))
    assert shown.note.startswith("Preview of a sample's colors, until a run")


def test_progress_of_the_count_is_reported():
    told = []
    asked = ask([da.from_array(STACK, chunks=(1, 40, 40))])
    color_visible(asked, None, KeptCounts(), told.append)
    assert told[-1] == "Counting colors, 100%"


def test_nothing_inside_of_the_mask_is_an_error():
    mask = Labels(np.zeros(RGB.shape[:2], dtype=int), name="m")
    with pytest.raises(computation.EmptyMaskError, match="is inside “m”"):
        show(ask([RGB], mask=mask, rgb=True))
