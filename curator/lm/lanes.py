"""How many batches of a model are worth running at once, each in a thread of its own, and the threads for it.

A model of large matrices keeps all cores busy by itself. One of small matrices does not: between its products stands Python,
which has one core, and a product of two threads waits for both. Measured on two cores, bare forward in float32: at width 128
two threads of one torch thread each take 1.83 s where two torch threads take 2.38 s; from width 768 on both take the same. What
is done between the products gains longer: an atlas pass over width 768 takes 1.08 of the bare forward in lanes, 1.19 without,
at widths 1,024 and 2,048 it gains nothing. It does not know what the threads do beside the forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from curator.lm.backbone import Backbone

_WIDEST = 768
_MOST_LANES = 4  # more wait for Python's lock


def lanes_for(backbone: Backbone) -> int:
    """How many threads should read batches at once: one a core for a hidden size up to 768 on a CPU, else one."""
    if backbone.device.type != "cpu" or backbone.hidden_size > _WIDEST:
        return 1
    return max(1, min(_MOST_LANES, torch.get_num_threads()))


@contextmanager
def lane_pool(lanes: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """So many threads that share torch's threads. What is queued when the block ends early is dropped."""
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(lanes, name, initializer=torch.set_num_threads, initargs=(max(1, threads // lanes),))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # what a lane sets holds for threads made later, too
