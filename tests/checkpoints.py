"""Checks to be interruptible by."""

import itertools
import threading

import numpy as np


class Ended(Exception):
    """Is raised at a checkpoint."""


class Check:
    """Count the checkpoints, and raise from one of them on."""

    def __init__(self, last=np.inf):
        self.last = last
        self._number = itertools.count(1)
        self.n_calls = 0
        self.threads = set()

    def __call__(self):
        self.threads.add(threading.current_thread())
        self.n_calls = next(self._number)
        if self.n_calls > self.last:
            raise Ended
