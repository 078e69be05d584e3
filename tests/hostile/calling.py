"""Calls that end as the documentation says, in time, and leave what they were given."""

import contextlib
import faulthandler
import re
import sys

import dask.array as da
import numpy as np
from hypothesis import event
from numpydoc.docscrape import FunctionDoc

from hostile.strategies import Planted

# Seconds that no case takes, on the busiest machine.
PATIENCE = 120


def documented_errors(function):
    return {each.type for each in FunctionDoc(function)["Raises"]}


def untouched(value):
    """Return all that there is to see of a value."""
    if isinstance(value, np.ndarray):
        flags = str(value.flags), value.strides, value.dtype.str, value.shape
        is_shown = value.dtype.hasobject or isinstance(value, np.ma.MaskedArray)
        return type(value), flags, repr(value) if is_shown else value.tobytes()
    if isinstance(value, list | tuple):
        return type(value), [untouched(each) for each in value]
    if isinstance(value, da.Array):
        return value.name, value.chunks
    return repr(value)


@contextlib.contextmanager
def no_hang():
    """End the process with a traceback of all threads if this takes too long."""
    faulthandler.dump_traceback_later(PATIENCE, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def attempt(function, arguments, wrong=frozenset(), may_refuse=None):
    """Call a function; return None if it refuses wrong arguments as documented.

    `may_refuse` tells whether a text says what is wrong with right arguments, where
    only the pixels can tell.
    """
    before = {name: untouched(value) for name, value in arguments.items()}
    planted = getattr(arguments.get("callback"), "error", None)
    result = refusal = None
    with no_hang():
        try:
            result = function(**arguments)
        except Planted:
            assert planted is Planted
            refusal = ""
        except Exception as error:
            kinds = {kind.__name__ for kind in type(error).__mro__}
            refusal = str(error)
            is_right = not wrong and not (may_refuse and may_refuse(refusal))
            if is_right or not kinds & documented_errors(function):
                raise
    event("accepted" if refusal is None else "refused")
    assert refusal is not None or not wrong, f"wrong {sorted(wrong)} were taken"
    if refusal and wrong:
        # What is right depends on the image.
        names = arguments if "image" in wrong else wrong
        assert set(re.findall(r"\w+", refusal)) & set(names), refusal
    for name, value in arguments.items():
        assert untouched(value) == before[name], f"{name} was changed"
    return result
