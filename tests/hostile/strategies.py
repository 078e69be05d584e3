"""Arguments as people pass them, right and wrong, for every public function of arrays.

`calls` draws what a function is called with, and the names of those arguments that it
must refuse; most calls have none. What is right depends on what was drawn before, as
the number of weights on that of channels.
"""

import copy
import itertools
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "?")
# Numbers that files are filled with where nothing was measured.
FILLS = (-9999.0, -3.4e38, 9.97e36, 1e140)
WORDS = ("LAB", "", b"rgb", 3, 0.5, ["rgb"], object(), np.array(["rgb"]))
NO_NUMBERS = ("1", [1], 1j, True, np.bool_(False), object(), np.ones(2), np.ones(1))
# Where it is no other name of float64.
LONG = [np.longdouble] if np.dtype(np.longdouble).itemsize > 8 else []


BOOLEANS, SELDOM = st.booleans(), st.integers(0, 5).map(lambda number: number == 5)


class Subclass(np.ndarray):
    """As `np.matrix` and others are."""


class Planted(Exception):
    """What a callback raises."""


class Image(NamedTuple):
    """An image as it is passed, and the same with channels last, in native order."""

    given: Any
    plain: Any
    channel_axis: int | None

    @property
    def dtype(self):
        return self.plain.dtype

    @property
    def n_channels(self):
        return self.plain.shape[-1]

    @property
    def pixels(self):
        return self.plain.reshape(-1, self.n_channels)

    @property
    def is_lazy(self):
        return isinstance(self.given, da.Array)


class Call(NamedTuple):
    """Arguments by name, the names of those that are wrong, and the image."""

    arguments: dict
    wrong: frozenset
    image: Image


# Images.


def numbers(dtype):
    """Draw a strategy for values: a few that repeat, those at the limits, or any."""
    if dtype.kind == "b":
        return st.just(st.booleans())
    if dtype.kind != "f":
        info = np.iinfo(dtype)
        low, high = int(info.min), int(info.max)
        ends = st.sampled_from((low, low + 1, high // 2, high - 1, high))
        return st.sampled_from((st.integers(0, 3), ends, st.integers(low, high)))
    info, width = np.finfo(dtype), 8 * dtype.itemsize
    tiny, most = float(info.smallest_subnormal), float(info.max)
    fills = [float(dtype.type(fill)) for fill in FILLS if abs(fill) <= most]
    unit = st.floats(0, 1, width=16)
    # Half a million times apart, or what a float has room for.
    scales = [
        scale for scale in (1.0, 1e30, 1e-30, 1e300, 1e-310) if scale <= most / 1e5
    ]
    scaled = (
        st.floats(width=16).map(lambda value, by=scale: float(dtype.type(value * by)))
        for scale in scales
    )
    return st.sampled_from(
        (
            st.sampled_from((0.0, 0.25, 0.5, 1.0)),
            st.floats(0, 1, width=width),
            st.sampled_from((0.0, -0.0, tiny, -tiny, np.nan, np.inf, -np.inf)),
            st.sampled_from((most, -most, most / 2, 0.0, np.nan, 1.0)),
            unit | st.sampled_from((*fills, np.nan)),
            *scaled,
            st.floats(width=width),
        )
    )


@st.composite
def plain_pixels(draw, dtypes=DTYPES, gray=BOOLEANS):
    """Draw pixels (..., C) with one at least that is finite, and whether they are gray.

    Where opacity is drawn, it is from 0 to 1 in most images.
    """
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    is_gray = draw(gray)
    n_axes = draw(st.integers(0 if is_gray else 2, 5 if is_gray else 4))
    sides = (6, 24, 6, 3, 3, 2)[n_axes]
    shape = tuple(draw(st.integers(1, sides)) for _ in range(n_axes))
    n_channels = 1 if is_gray else draw(st.sampled_from((3, 4, 2, 1, 5, 3, 4, 66)))
    if n_channels > 5:
        shape = (*shape[:-1], 1)
    elements = draw(numbers(dtype))
    pixels = draw(hnp.arrays(dtype, (*shape, n_channels), elements=elements))
    if not np.isfinite(pixels).all(axis=-1).any():
        pixels[(0,) * n_axes] = 1
    return pixels, is_gray


def _laid_out(array, layout):
    """Return the same numbers in another place of memory, or of another kind."""
    if layout == "Fortran":
        return np.asfortranarray(array)
    if layout == "reversed":
        return np.flip(np.flip(array).copy())
    if layout == "strided":
        wide = np.repeat(array, 2, axis=-1)
        return wide[..., ::2]
    if layout == "read-only":
        array = array.copy()
        array.flags.writeable = False
        return array
    if layout == "swapped":
        return array.astype(array.dtype.newbyteorder())
    if layout == "subclass":
        return array.copy().view(Subclass)
    if layout == "list":
        return array.tolist()
    return array.copy()


LAYOUTS = ("C", "Fortran", "reversed", "strided", "read-only", "swapped", "subclass")


@st.composite
def cuts(draw, length):
    """Cut an axis into chunks of any sizes, also of none."""
    places = sorted(draw(st.lists(st.integers(0, length), max_size=3)))
    return tuple(b - a for a, b in itertools.pairwise((0, *places, length)))


@st.composite
def images(draw, lazy=SELDOM, **keywords):
    pixels, is_gray = draw(plain_pixels(**keywords))
    axis, array = None, pixels[..., 0]
    if not is_gray:
        axis = draw(st.integers(0, pixels.ndim - 1))
        array = np.moveaxis(pixels, -1, axis)
        # -1 is refused where others look like channels.
        if draw(st.booleans()) and pixels.shape[-1] <= 64:
            axis -= pixels.ndim
    if draw(lazy):
        chunks = tuple(draw(cuts(length)) for length in array.shape)
        layout = draw(st.sampled_from(LAYOUTS[:4])) if array.ndim else "C"
        return Image(da.from_array(_laid_out(array, layout), chunks), pixels, axis)
    layouts = LAYOUTS if array.ndim else ("C", "read-only", "swapped")
    if array.dtype in (np.int64, np.float64, np.bool_):
        layouts += ("list",)
    layout = draw(st.sampled_from(layouts))
    if array.ndim and draw(st.integers(0, 9)) == 9:
        # All along the first axis are one in memory.
        array = np.broadcast_to(array[:1], array.shape)
        rows = array if is_gray else np.moveaxis(array, axis, -1)
        pixels = np.array(rows[..., np.newaxis] if is_gray else rows)
        if not np.isfinite(pixels).all(axis=-1).any():
            return draw(images(lazy=st.just(False), **keywords))
        return Image(array, pixels, axis)
    return Image(_laid_out(array, layout), pixels, axis)


def _unknown_chunks():
    array = da.ones((4, 4, 3), chunks=(2, 2, 3), dtype="u1")
    return array[da.from_array(np.array([True, False, True, True]))]


# None of these is an image with its channels along the last axis.
WRONG_IMAGES = (
    np.zeros((0, 3, 3), np.uint8),
    np.zeros((2, 2, 0)),
    np.zeros((2, 2, 3), complex),
    np.full((2, 2, 3), None),
    np.full((2, 2, 3), "a"),
    np.zeros((2, 2, 3), "M8[s]"),
    np.zeros((2, 2, 3), "m8[s]"),
    np.zeros((2, 2, 3), [("r", "u1"), ("g", "u1")]),
    np.zeros((2, 2, 3), "V3"),
    *(np.zeros((2, 2, 3), dtype) for dtype in LONG),
    np.ma.zeros((2, 2, 3)),
    [np.ma.zeros((2, 3))],
    np.zeros((2, 3)),
    np.zeros(3),
    np.zeros((3, 2, 65), np.uint8),
    np.full((2, 2, 3), np.nan),
    [[1, 2], [3]],
    None,
    "image.png",
    {"a": 1},
    object(),
    5,
    [],
    _unknown_chunks(),
    da.zeros((2, 2, 3), dtype=complex),
    da.ma.masked_equal(da.zeros((2, 2, 3)), 1),
)

# Nor is one of these a sequence of images.
ODD_LISTS = (
    [],
    [np.ones((2, 2, 3)), None],
    [np.ones((2, 2, 3)), "a"],
    [np.ones((2, 2, 3)), np.ones((2, 2, 4))],
    (np.ones((2, 2, 3)), np.ones((2, 2, 3), np.float32)),
    [np.ones((2, 2, 3)), np.ma.ones((2, 2, 3))],
    [np.ones((2, 2, 3)), np.ones((0, 2, 3))],
    [np.ones((2, 2, 3)), np.ones(3)],
    [np.ones((2, 2, 3)), da.ones((2, 2, 3), dtype="m8[s]")],
    [np.ones((2, 2, 3)), [[[1, 2, 3]], [[1, 2]]]],
    [np.full((2, 2, 3), np.nan), np.full((1, 1, 3), np.inf)],
)


# Arguments.


class Drawing:
    """What is known of a call while its arguments are drawn, one by one."""

    def __init__(self, draw, image, names):
        self.draw, self.image, self.names = draw, image, names
        self.drawn = {}

    def one_of(self, *values):
        return copy.copy(self.draw(st.sampled_from(values)))

    def get(self, name, default=None):
        return self.drawn.get(name, default)

    @property
    def has_alpha(self):
        return bool(self.get("alpha", False))

    @property
    def n_weights(self):
        return self.image.n_channels - self.has_alpha

    def fitted(self):
        """Return the pixels that are finite, under the mask."""
        pixels, mask = self.image.pixels, self.get("mask")
        inside = np.isfinite(pixels).all(axis=1)
        if mask is not None:
            inside &= np.asarray(mask).reshape(-1)
        return pixels[inside]

    def is_perceptual(self):
        return self.get("color_space", "rgb") != "rgb"

    def colors(self, n):
        """Draw colors (n, C), of which some are those of pixels."""
        finite = self.image.pixels[np.isfinite(self.image.pixels).all(axis=1)]
        rows = [finite[self.draw(st.integers(0, len(finite) - 1))] for _ in range(n)]
        return np.array(rows, self.image.dtype)

    def passed_colors(self, colors):
        """Draw another way to pass colors (n, C)."""
        shown = colors[:, 0] if self.image.channel_axis is None else colors
        way = self.one_of("same", "list", "Fortran", "swapped", "read-only", "floats")
        if way == "floats":
            return shown.astype("f8") if shown.dtype.itemsize <= 4 else shown
        # NumPy makes floats of a list of some that uint64 alone holds.
        if way == "list" and shown.dtype.kind in "ui" and shown.dtype != np.uint64:
            return shown.tolist()
        return _laid_out(shown, way) if way != "list" else shown


def right_k(c):
    init = c.get("init")
    if isinstance(init, list | np.ndarray):
        return len(init)
    k = c.draw(st.integers(1, 9))
    return c.one_of(k, k, k, np.int64(k), np.uint8(k), np.array(k), 256, 65536)


def right_iters(c):
    return c.one_of(0, 1, 2, 10, np.int16(3), 1000, 1 << 70)


def right_mask(c):
    finite = np.isfinite(c.image.plain).all(axis=-1)
    mask = c.draw(hnp.arrays(bool, finite.shape))
    mask[tuple(np.argwhere(finite)[0])] = True
    if c.image.is_lazy and c.draw(st.booleans()):
        return da.from_array(mask, chunks=1)
    layouts = ("C", "Fortran", "reversed", "read-only") if mask.ndim else ("C",)
    return _laid_out(mask, c.one_of(*layouts, "list"))


def right_alpha(c):
    fits = c.image.dtype.kind in "uf" and c.image.n_channels in (2, 4, 5, 66)
    return c.one_of(True, np.bool_(True), True, False) if fits else False


def right_color_space(c):
    dtype = c.image.dtype
    fits = c.image.n_channels - c.has_alpha == 3
    fits &= dtype.kind == "f" or dtype.str[1:] in ("u1", "u2")
    if dtype.kind == "f":
        fits &= bool((abs(c.fitted()) <= 8).all())
    return c.one_of("lab", "oklab", np.str_("lab"), "rgb") if fits else "rgb"


def right_weights(c):
    n = c.n_weights
    ways = (
        [1] * n,
        [3, 2.5, 0.1, 1e-3, 7][:n] if n <= 5 else np.arange(1, n + 1),
        np.linspace(1, 2, n, dtype="f4"),
        np.arange(1, n + 1),
        np.array([1e-50, 1e49, 1, 2, 3][:n]) if n <= 5 else [1e100] * n,
        tuple([5e-324] * n),
        None,
    )
    # A word is for those who fit.
    return c.one_of(*ways) if "palette" in c.names else c.one_of("std", *ways)


def right_init(c):
    if c.draw(st.booleans()):
        return c.one_of("auto", "thorough", "k-means++", "random")
    return c.passed_colors(c.colors(c.draw(st.integers(1, 5))))


def right_rng(c):
    if c.draw(st.booleans()):
        # It is changed, which is what it is for.
        return np.random.default_rng(7)
    return c.one_of(0, 1 << 70, np.int64(7), np.uint8(3), None)


def right_fixed(c):
    init = c.get("init")
    is_given = isinstance(init, list | np.ndarray)
    most = len(init) if is_given else int(c.get("k", 16))
    colors = np.unique(c.colors(c.draw(st.integers(1, min(3, most)))), axis=0)
    return c.passed_colors(colors)


def right_palette(c):
    colors = c.colors(c.draw(st.integers(1, 9)))
    if not c.is_perceptual() and c.draw(st.booleans()):
        values = c.draw(numbers(c.image.dtype))
        colors = c.draw(hnp.arrays(colors.dtype, colors.shape, elements=values))
        colors[~np.isfinite(colors)] = 1
    if c.draw(st.integers(0, 9)) == 9:
        colors = np.resize(colors, (257, c.image.n_channels))
    return c.passed_colors(colors)


def right_ks(c):
    ks = c.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    return c.one_of(ks, tuple(ks), np.array(ks), np.array(ks, "u1"), [65536, *ks])


class Callback:
    """Records the states of a fit; raises something after some iterations."""

    def __init__(self, error=None, after=1):
        self.error, self.after, self.states = error, after, []

    def __call__(self, state):
        self.states.append(state)
        if self.error is not None and len(self.states) == self.after:
            raise self.error


def right_callback(c):
    after = c.draw(st.integers(1, 3))
    return Callback(c.one_of(None, StopIteration, Planted), after)


RIGHT = {
    # In this order: what is right depends on what was drawn before.
    "mask": right_mask,
    "alpha": right_alpha,
    "color_space": right_color_space,
    "channel_weights": right_weights,
    "init": right_init,
    "k": right_k,
    "iters": right_iters,
    "rng": right_rng,
    "fixed": right_fixed,
    "callback": right_callback,
    "palette": right_palette,
    "dither": lambda c: c.one_of("floyd-steinberg", "ordered", None),
    "dither_strength": lambda c: (
        c.one_of(1, 1.0, 0, 0.5, np.float32(0.25), 5e-324)
        if c.get("dither") is not None
        else c.one_of(1, 1.0, np.uint8(1))
    ),
    "ks": right_ks,
    "psnr": lambda c: c.one_of(0, 1e-300, 20, 30.5, np.float32(40), np.inf, 1e300),
    "mse": lambda c: c.one_of(0, 1e-300, 0.01, 5, np.int64(100), 1e300, np.inf),
    "max_k": right_k,
}


def wrong_weights(c):
    n = c.n_weights
    return c.one_of(
        "contrast", [0] * n, [-1] * n, [np.nan] * n, [np.inf] * n, [True] * n,
        [1] * (n + 1), 1, [], ["1"] * n, [None] * n, np.ones((n, 1)),
        np.ma.ones(n), [1j] * n, np.ones(n, bool), {"a": 1},
        *([[1, *[1e-101] * (n - 1)]] if n > 1 else []),
    )  # fmt: skip


def wrong_colors(c):
    right = c.colors(2)
    shown = right[:, 0] if c.image.channel_axis is None else right
    bad = shown.astype("f8")
    bad.flat[0] = c.one_of(np.nan, np.inf, -np.inf)
    return c.one_of(
        bad, shown[np.newaxis], shown.astype(complex), shown.astype(object), 5,
        np.ma.array(shown), {"a": 1}, [[1, 2], [3]], ["red", "blue"], np.zeros((3, 7)),
        *(shown.astype(dtype) for dtype in LONG),
    )  # fmt: skip


def wrong_palette(c):
    none = np.zeros((0, c.image.n_channels))
    return c.one_of(None, none, np.zeros((65537, c.image.n_channels)), wrong_colors(c))


def wrong_init(c):
    return c.one_of(
        "AUTO", "kmeans", None, b"auto", np.zeros((3, 9)), np.zeros((0, 1)),
        [[1, 2], [3]], {"a": 1}, np.ma.zeros((2, 3)), np.full((2, 3), np.nan), 1j,
    )  # fmt: skip


def wrong_mask(c):
    shape = c.image.plain.shape[:-1]
    return c.one_of(
        np.ones((*shape, 1), bool), np.ones(shape, np.uint8), np.zeros(shape, bool),
        np.ma.ones(shape, dtype=bool), "all", 1, np.ones(shape), np.ones((9, 9), bool),
        [[True], [True, False]], {"a": 1}, np.full(shape, None),
    )  # fmt: skip


def wrong_integers(low, high=None):
    above = [] if high is None else [high + 1, 1 << 70, np.uint64(high + 1)]

    def draw(c):
        values = ("1", None, 1.0, np.float64(1), [1], 1j, True, object(), np.nan)
        return c.one_of(*values, low - 1, -(1 << 70), np.int8(low - 1), *above)

    return draw


WRONG = {
    "mask": wrong_mask,
    "alpha": lambda c: c.one_of(1, 0, None, "yes", [True], np.ones(1, bool), 1.0),
    "color_space": lambda c: c.one_of(*WORDS, None, "hsv"),
    "channel_weights": wrong_weights,
    "init": wrong_init,
    "k": wrong_integers(1, 65536),
    "max_k": wrong_integers(1, 65536),
    "iters": wrong_integers(0),
    "rng": lambda c: c.one_of(
        -1, 1.5, "a", [1], True, np.random.RandomState(0), np.ones(2, int), 1j
    ),
    "fixed": wrong_colors,
    "callback": lambda c: c.one_of(3, "f", [print], np.ones(2)),
    "palette": wrong_palette,
    "dither": lambda c: c.one_of(*WORDS, True),
    "dither_strength": lambda c: c.one_of(
        *NO_NUMBERS, None, -0.1, 1.1, np.nan, np.inf, -np.inf, 10**400, -(10**400)
    ),
    "ks": lambda c: c.one_of(
        [0], [65537], [1.0], ["1"], [[1]], 3, None, [True], np.ma.array([1]), [-1],
        [[1], [2, 3]], [1 << 70], np.array([np.nan]), {1: 2}, [None], [1j],
    ),
    "psnr": lambda c: c.one_of(*NO_NUMBERS, -1, np.nan, -np.inf),
    "mse": lambda c: c.one_of(*NO_NUMBERS, -1, np.nan, -(10**400)),
    "channel_axis": lambda c: c.one_of("0", 1.0, [0], True, 9, -9, 1j, object()),
}  # fmt: skip


@st.composite
def calls(draw, names, always=(), image_of=images):
    """Draw a call with some of these keywords; 3 in 10 calls have wrong ones."""
    image = draw(image_of())
    c = Drawing(draw, image, (*names, *always))
    chosen = draw(st.sets(st.sampled_from(names), max_size=5)) | set(always)
    wrong = set()
    if draw(st.integers(0, 9)) >= 7:
        wrong = {
            *draw(st.sets(st.sampled_from([*names, "image"]), min_size=1, max_size=2))
        }
    for name in RIGHT:
        if name in chosen | wrong and name in c.names:
            c.drawn[name] = RIGHT[name](c)
    if isinstance(c.get("init"), list | np.ndarray):
        c.drawn["k"] = len(c.drawn["init"])
    arguments = {"image": image.given, **c.drawn}
    if image.channel_axis != -1 or draw(st.booleans()):
        arguments["channel_axis"] = image.channel_axis
    for name in wrong - {"image"}:
        arguments[name] = WRONG[name](c)
    if "image" in wrong:
        # They are wrong for the last axis.
        arguments.pop("channel_axis", None)
        wrong.discard("channel_axis")
        arguments["image"] = copy.copy(draw(st.sampled_from(WRONG_IMAGES)))
    return Call(arguments, frozenset(wrong), image)


@st.composite
def counts_calls(draw):
    """Draw what `ColorCounts` is called with, and what of it is wrong."""
    pixels, is_gray = draw(plain_pixels())
    pixels = pixels.reshape(-1, pixels.shape[-1])
    colors = np.unique(pixels[np.isfinite(pixels).all(axis=1)] + 0, axis=0)
    colors = draw(st.permutations(range(len(colors))).map(lambda at: colors[at]))
    dtype = draw(st.sampled_from(("i8", "u1", ">u4", "u8")))
    counts = draw(hnp.arrays(dtype, len(colors), elements=st.integers(1, 200)))
    shown = colors[:, 0] if is_gray else colors
    layout = draw(st.sampled_from(LAYOUTS))
    arguments = {"colors": _laid_out(shown, layout), "counts": counts}
    wrong = draw(st.sampled_from((None, None, "colors", "counts")))
    if wrong is not None:
        values = {
            "colors": (
                shown.repeat(2, axis=0), shown[:0], shown[np.newaxis, np.newaxis],
                shown.astype(complex), shown.astype(object), np.ma.array(shown), None,
                np.full(shown.shape, np.nan), shown[..., np.newaxis][..., :0], "a", 3,
                np.zeros(shown.shape, "M8[s]"), [[1, 2], [3]], {"a": 1}, object(),
                *(shown.astype(dtype) for dtype in LONG),
            ),
            "counts": (
                counts.astype("i8") - 200, counts * 1.0, counts[:-1], counts > 0,
                np.ma.array(counts), counts.astype(object), counts[np.newaxis], None, 1,
                np.full(len(counts), 1 << 63, "u8"), [(1 << 62) + 1] * len(counts),
                "a", [[1], [2, 3]], {"a": 1}, counts.astype("m8[s]"),
            ),
        }  # fmt: skip
        arguments[wrong] = draw(st.sampled_from(values[wrong]))
    # Which one of two lengths is wrong, nobody can tell.
    return arguments, frozenset(arguments if wrong else ()), colors
