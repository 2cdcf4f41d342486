"""How many batches of a model are worth running at once, each in a thread of its own.

A model of large matrices keeps all cores busy by itself. One of small matrices does not: between its products stands Python,
which has one core, and a product of two threads waits for both. Measured on two cores, bare forward in float32: at width 128
two threads of one torch thread each take 1.83 s where two torch threads take 2.38 s, at width 768 6.8 s against 6.0 s.
It does not know what the threads do beside the forward pass.
"""

from __future__ import annotations

import torch

from curator.lm.backbone import Backbone

_NARROW = 256
_MOST_LANES = 4  # more wait for Python's lock


def lanes_for(backbone: Backbone) -> int:
    """How many threads should read batches at once: one a core for narrow models on a CPU, else one."""
    if backbone.device.type != "cpu" or backbone.hidden_size > _NARROW:
        return 1
    return max(1, min(_MOST_LANES, torch.get_num_threads()))
