"""Every public function of arrays, called with anything: its promises, or an error.

A call whose arguments are right never fails; one that has a wrong argument raises what
the documentation lists, and names the argument. Nothing warns, hangs, or changes what
it is given. The everyday profile draws 100 calls for each test, the nightly one 2,000.
"""

import contextlib
import copy
import itertools
from unittest import mock

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile import laws, strategies
from hostile.calling import attempt
from hostile.strategies import Call
from napari_kmeans import (
    ColorCounts,
    choose_k,
    count_colors,
    error_curve,
    kmeans_palette,
    map_to_palette,
    quantize_kmeans,
)
from napari_kmeans._core import color_counts

HOW = ("color_space", "channel_weights", "alpha")
FIT = ("k", "iters", "mask", *HOW, "init", "rng", "callback")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Compute chunks of dask one after the other, which is quicker for a few pixels."""
    with dask.config.set(scheduler="synchronous"):
        yield


def is_far_apart(text):
    """Whether "std" was refused, for channels that differ too much."""
    return text.startswith("channel_weights must be at most 1e+100 times")


def refusal_of(call):
    is_std = isinstance(call.arguments.get("channel_weights"), str)
    is_wide = call.image.dtype.kind == "f" and call.image.n_channels > 1
    return is_far_apart if is_std and is_wide else None


def measured(call, weights=None, *, pixels=None):
    """Return how distances are measured in a call."""
    space = str(call.arguments.get("color_space", "rgb"))
    alpha = bool(call.arguments.get("alpha", False))
    pixels = call.image.pixels if pixels is None else pixels
    return laws.Case(pixels, space, weights, alpha)


def fitted(call):
    """Return the pixels that are under the mask."""
    mask = call.arguments.get("mask")
    inside = slice(None) if mask is None else np.asarray(mask).reshape(-1)
    return call.image.pixels[inside]


def is_repeatable(call):
    """Whether nothing was drawn at random that is drawn differently the next time."""
    init, rng = call.arguments.get("init"), call.arguments.get("rng")
    return rng is not None or str(init) not in ("random", "k-means++")


def is_rounded(call, is_streamed):
    """Whether sums of the same numbers are rounded in the order that blocks have."""
    is_float, case = call.image.dtype.kind == "f", measured(call)
    is_weighted = call.arguments.get("channel_weights") is not None
    is_wide = case.alpha and call.image.dtype.itemsize > 2
    is_rounded = is_float or case.space != "rgb" or is_weighted or is_wide
    return (is_streamed and is_rounded) or (call.image.is_lazy and is_float)


def streaming(call, is_streamed):
    """Let an image have too many colors to be counted, if it has more than `k`."""
    if not is_streamed or call.wrong:
        return contextlib.nullcontext()
    k = int(call.arguments.get("k", 16))
    return mock.patch.object(color_counts, "MAX_COUNTED", k)


def plainly(call, **changes):
    """Return the arguments of a call with the same image as a plain array."""
    callback = call.arguments.get("callback")
    if callback is not None:
        changes["callback"] = strategies.Callback(callback.error, callback.after)
    plain, axis = call.image.plain, call.image.plain.ndim - 1
    if call.image.channel_axis is None:
        plain, axis = plain[..., 0], None
    mask = call.arguments.get("mask")
    if mask is not None:
        changes.setdefault("mask", np.array(mask))
    if isinstance(call.arguments.get("rng"), np.random.Generator):
        changes["rng"] = np.random.default_rng(7)
    return call.arguments | {"image": plain, "channel_axis": axis} | changes


def channels_last(call, array):
    """Return an array in the place of the image as rows (n, C)."""
    axis = call.image.channel_axis
    array = array[..., np.newaxis] if axis is None else np.moveaxis(array, axis, -1)
    return array.reshape(call.image.pixels.shape)


def check_result(call, result, case, fixed=()):
    """Check all that `PaletteResult` promises of the fitted pixels of a case."""
    palette, k = result.palette, int(call.arguments.get("k", 16))
    is_gray, iters = call.image.channel_axis is None, call.arguments.get("iters", 10)
    assert palette.dtype == call.image.dtype.newbyteorder("=")
    assert palette.shape[1:] == (() if is_gray else (call.image.n_channels,))
    assert type(palette) is np.ndarray
    assert 1 <= len(palette) <= k
    assert np.isfinite(palette).all()
    assert result.counts.shape == (len(palette),)
    assert result.counts.dtype == np.int64
    assert result.counts.sum() == laws.are_seen(case).sum()
    assert type(result.mse) is float
    assert result.mse >= 0
    assert 0 <= result.n_iter <= iters
    assert type(result.converged) is bool
    colors = palette.reshape(len(palette), -1)
    laws.check_order(colors, is_gray)
    labels = map_to_palette(
        case.pixels[:, 0] if is_gray else case.pixels[:, np.newaxis],
        palette,
        channel_axis=None if is_gray else 2,
        color_space=case.space,
        channel_weights=result.channel_weights,
        alpha=case.alpha,
    ).reshape(-1)
    case = case._replace(weights=result.channel_weights)
    laws.check_nearest(labels, case, colors)
    seen = laws.are_seen(case)
    assert np.bincount(labels[seen], minlength=len(palette)).tolist() == (
        result.counts.tolist()
    )
    laws.check_error(result.mse, labels, case, colors)
    distinct = set(map(tuple, (case.pixels[seen] + 0).tolist()))
    if len(distinct | set(map(tuple, fixed))) <= k:
        assert set(map(tuple, colors.tolist())) >= distinct
        assert result.mse == 0
    elif iters > 0 and result.mse > 1e-290:
        assert len(palette) >= min(k, len(distinct | set(map(tuple, fixed))))
    if iters > 0 and not fixed and not case.alpha:
        assert (result.counts > 0).all()
    assert set(map(tuple, fixed)) <= set(map(tuple, colors.tolist()))


def check_states(call, result):
    """Check what a callback was told."""
    callback = call.arguments.get("callback")
    if callback is None or not callback.states:
        return
    states = callback.states
    assert [state.n_iter for state in states] == list(range(1, len(states) + 1))
    errors = [state.mse for state in states]
    assert all(b <= a for a, b in itertools.pairwise(errors)), errors
    for state in states:
        assert state.centers.dtype == np.float64
        assert state.centers.shape[1:] == call.image.plain.shape[-1:] or (
            call.image.channel_axis is None and state.centers.ndim == 1
        )
    if result is not None:
        assert result.n_iter == len(states)


@given(call=strategies.calls(FIT), is_streamed=strategies.SELDOM)
def test_quantize_kmeans(call, is_streamed):
    with streaming(call, is_streamed):
        check_quantized(call, is_streamed)


def check_quantized(call, is_streamed):
    quantized = attempt(quantize_kmeans, call.arguments, call.wrong, refusal_of(call))
    if quantized is None or laws.is_beyond(measured(call)):
        return
    given_image = call.arguments["image"]
    if call.image.is_lazy:
        assert isinstance(quantized, da.Array)
        assert quantized.dtype == given_image.dtype
        # dask makes numbers of what has no axis.
        quantized = np.asarray(quantized.compute())
    assert type(quantized) is np.ndarray
    assert quantized.dtype == np.asanyarray(given_image).dtype
    assert quantized.shape == np.shape(given_image)
    if isinstance(given_image, np.ndarray):
        assert not np.shares_memory(quantized, given_image)
    assert quantized.flags.writeable
    k, case = int(call.arguments.get("k", 16)), measured(call)
    pixels = case.pixels
    rows = channels_last(call, quantized).astype(pixels.dtype)
    seen = laws.are_seen(case)
    assert rows[~seen].tobytes() == pixels[~seen].tobytes()
    if (
        call.arguments.get("mask") is None
        and len(set(map(tuple, pixels[seen].tolist()))) <= k
    ):
        assert rows.tobytes() == pixels.tobytes()
    again = plainly(call)
    result = kmeans_palette(**again)
    how = {name: again[name] for name in ("channel_axis", *HOW) if name in again}
    how["channel_weights"] = result.channel_weights
    labels = map_to_palette(again["image"], result.palette, **how).reshape(-1)
    colors = result.palette.reshape(len(result.palette), -1)[labels]
    assert len(np.unique(rows[seen], axis=0)) <= k
    if is_repeatable(call) and not is_rounded(call, is_streamed):
        assert (rows[seen] == colors[seen]).all()
    check_states(call, None)
    if call.arguments.get("iters", 10) > 0 and not case.alpha:
        image = rows.reshape(again["image"].shape)
        twice = quantize_kmeans(**plainly(call, image=image))
        assert twice.tobytes() == image.tobytes()


def odd(draw, call):
    """Return a call with a sequence that is none of images."""
    arguments = dict(call.arguments)
    arguments.pop("channel_axis", None)
    arguments.pop("mask", None)
    arguments["image"] = copy.copy(draw(st.sampled_from(strategies.ODD_LISTS)))
    return Call(arguments, frozenset({"image"}), call.image)


@st.composite
def palette_calls(draw):
    """Draw calls with an image, with several, or with their counts."""
    call = draw(strategies.calls((*FIT, "fixed")))
    if call.wrong or call.image.is_lazy:
        return call
    way = draw(st.sampled_from(("image", "image", "list", "counts", "odd", "masks")))
    arguments = dict(call.arguments)
    axis, mask = call.image.channel_axis, arguments.get("mask")
    if way == "odd":
        return odd(draw, call)
    if way == "masks" and mask is not None:
        n_masks = draw(st.sampled_from((0, 1, 3)))
        arguments |= {"image": [call.image.given] * 2, "mask": [mask] * n_masks}
        return Call(arguments, frozenset({"mask"}), call.image)
    if way == "list":
        images = [np.asarray(call.image.given)] * draw(st.integers(1, 3))
        arguments["image"] = tuple(images) if draw(st.booleans()) else images
        if mask is not None:
            arguments["mask"] = [mask] * len(images)
        plain = np.stack([call.image.plain] * len(images))
        image = call.image._replace(plain=plain)
        return Call(arguments, call.wrong, image)
    if way == "counts":
        counts = count_colors(call.image.given, channel_axis=axis, mask=mask)
        arguments |= {"image": counts, "channel_axis": draw(st.sampled_from((-1, 7)))}
        arguments.pop("mask", None)
        plain = fitted(call)[:, np.newaxis]
        return Call(arguments, call.wrong, call.image._replace(plain=plain))
    return call


@given(call=palette_calls(), is_streamed=strategies.SELDOM)
def test_kmeans_palette(call, is_streamed):
    with streaming(call, is_streamed):
        check_palette(call, is_streamed)


def check_palette(call, is_streamed):
    result = attempt(kmeans_palette, call.arguments, call.wrong, refusal_of(call))
    if result is None or laws.is_beyond(measured(call)):
        return
    fixed = call.arguments.get("fixed")
    rows = [] if fixed is None else np.array(fixed, call.image.dtype)
    rows = [] if fixed is None else rows.reshape(len(rows), -1).tolist()
    case = measured(call, pixels=fitted(call))
    check_result(call, result, case, [*map(tuple, rows)])
    check_states(call, result)
    if not is_repeatable(call):
        return
    again = kmeans_palette(**plainly(call))
    if is_rounded(call, is_streamed):
        assert again.mse == pytest.approx(result.mse, rel=1e-6)
        return
    assert again.palette.tobytes() == result.palette.tobytes()
    assert again.counts.tolist() == result.counts.tolist()
    assert (again.n_iter, again.converged) == (result.n_iter, result.converged)
    assert again.mse == result.mse


MAP = ("palette", *HOW, "dither", "dither_strength")


@given(call=strategies.calls(MAP, always=("palette",)))
def test_map_to_palette(call):
    labels = attempt(map_to_palette, call.arguments, call.wrong)
    if labels is None or laws.is_beyond(measured(call)):
        return
    colors = np.asarray(call.arguments["palette"])
    if call.image.is_lazy:
        assert isinstance(labels, da.Array)
        labels = np.asarray(labels.compute())
    assert type(labels) is np.ndarray
    assert labels.dtype == (np.uint8 if len(colors) <= 256 else np.uint16)
    assert labels.shape == call.image.plain.shape[:-1]
    assert labels.max() < len(colors)
    case = measured(call, call.arguments.get("channel_weights"))
    finite = np.isfinite(case.pixels).all(axis=1)
    assert not labels.reshape(-1)[~finite].any()
    dither = call.arguments.get("dither")
    rows = colors.reshape(len(colors), -1)
    if dither is None or call.arguments.get("dither_strength", 1) == 0:
        laws.check_nearest(labels, case, rows)
    else:
        own = (case.pixels[:, np.newaxis] == rows).all(axis=2) & finite[:, np.newaxis]
        if case.space == "rgb" and not case.alpha:
            is_own = own.any(axis=1)
            assert (labels.reshape(-1)[is_own] == own.argmax(axis=1)[is_own]).all()
    again = map_to_palette(**plainly(call))
    if not (call.image.is_lazy and call.image.dtype.kind == "f"):
        assert again.tobytes() == labels.tobytes()


@st.composite
def counting_calls(draw):
    """Draw a function that counts, and a call of it."""
    function = draw(st.sampled_from((count_colors, choose_k, error_curve)))
    names, always = ("iters", "mask", *HOW), ()
    if function is count_colors:
        names = ("mask",)
    elif function is error_curve:
        always = ("ks",)
    else:
        names, always = (*names, "max_k"), (draw(st.sampled_from(("psnr", "mse"))),)
    call = draw(strategies.calls(names, always))
    is_odd = not call.wrong and draw(strategies.SELDOM)
    return function, odd(draw, call) if is_odd else call


@given(drawn=counting_calls())
def test_counts_and_what_is_made_of_them(drawn):
    function, call = drawn
    check = {
        count_colors: check_counts,
        choose_k: check_choice,
        error_curve: check_curve,
    }[function]
    check(call)


def check_counts(call):
    counts = attempt(count_colors, call.arguments, call.wrong)
    if counts is None:
        return
    pixels = fitted(call)
    wanted = laws.counted(pixels + pixels.dtype.type(0))
    colors = counts.colors.reshape(len(counts.colors), -1)
    assert counts.colors.dtype == call.image.dtype
    assert counts.counts.dtype == np.int64
    numbers = dict(
        zip(map(tuple, colors.tolist()), counts.counts.tolist(), strict=True)
    )
    assert numbers == wanted
    made = attempt(
        ColorCounts, {"colors": counts.colors[::-1], "counts": counts.counts[::-1]}
    )
    plain = plainly(call)
    both = {"mask": [plain["mask"]] * 2} if "mask" in plain else {}
    for other, factor in (
        (made, 1),
        (counts + made, 2),
        (sum([counts, made, counts]), 3),
        (count_colors(**plain | {"image": [plain["image"]] * 2} | both), 2),
    ):
        assert other.colors.tobytes() == counts.colors.tobytes()
        assert (other.counts == factor * counts.counts).all()


def check_choice(call):
    most = call.arguments.get("max_k", 65536)

    def may_refuse(text):
        return (
            is_far_apart(text)
            or text.endswith(f"is out of reach of {most} colors")
            or "cannot be measured" in text
        )

    found = attempt(choose_k, call.arguments, call.wrong, may_refuse)
    is_vague = call.image.is_lazy and call.image.dtype.kind == "f"
    if call.wrong or is_vague or laws.is_beyond(measured(call)):
        return
    names = (*HOW, "iters", "mask", "channel_axis", "image")
    plain = {name: v for name, v in plainly(call).items() if name in names}
    target = call.arguments.get("mse")
    if found is None:
        if target is not None:
            assert kmeans_palette(**plain, k=int(most)).mse > target
        return
    k = len(found.palette)
    if target is not None:
        assert found.mse <= target
        if k > 1:
            # Of numbers that differ so little, squares are zero.
            error, n_colors = (
                kmeans_palette(**plain, k=k - 1).mse,
                len(laws.counted(fitted(call) + 0)),
            )
            assert error > target or (error == 0 and k <= n_colors)


def check_curve(call):
    errors = attempt(error_curve, call.arguments, call.wrong, refusal_of(call))
    if errors is None:
        return
    ks = list(call.arguments["ks"])
    assert errors.dtype == np.float64
    assert errors.shape == (len(ks),)
    if call.image.is_lazy and call.image.dtype.kind == "f":
        return
    plain = plainly(call)
    del plain["ks"]
    single = {k: kmeans_palette(**plain, k=k).mse for k in set(ks)}
    assert errors.tolist() == [min(single[j] for j in ks if j <= k) for k in ks]


@given(drawn=strategies.counts_calls())
def test_the_constructor_of_counts(drawn):
    arguments, wrong, colors = drawn
    counts = attempt(ColorCounts, arguments, wrong)
    if counts is None:
        return
    rows = counts.colors.reshape(len(colors), -1)
    assert counts.colors.dtype == colors.dtype
    found = dict(zip(map(tuple, rows.tolist()), counts.counts.tolist(), strict=True))
    given_counts = np.asarray(arguments["counts"]).tolist()
    order = np.asarray(arguments["colors"]).reshape(len(colors), -1).tolist()
    assert found == dict(zip(map(tuple, order), given_counts, strict=True))
