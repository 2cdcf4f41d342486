"""Score arrays made by hand for tests of the selection."""

import numpy as np

from curator.filtering.arrays import REASONS, ScoreArrays, hash_strings


def codes(names):
    return np.array([REASONS.index(name) for name in names], np.int16)


def names(codes_D):
    return [REASONS[code] for code in codes_D]


def id_hashes(ids):
    data = [name.encode() for name in ids]
    return hash_strings(np.frombuffer(b"".join(data), np.uint8), np.cumsum([0, *map(len, data)]))


def score_arrays(probabilities, **fields):
    """Arrays for a list of probabilities, or a mapping from target to one; every other field has a plain default."""
    if not isinstance(probabilities, dict):
        probabilities = {"law": probabilities}
    probability_TD = np.array(list(probabilities.values()), float).reshape(len(probabilities), -1)
    rows = probability_TD.shape[1]
    defaults = {
        "value_TD": probability_TD * 10,
        "tokens_D": np.ones(rows, np.int64),
        "size_D": np.ones(rows, np.int64),
        "reason_D": np.zeros(rows, np.int16),
        "unreadable_D": np.zeros(rows, bool),
        "contaminated_D": np.zeros(rows, bool),
        "id_hash_D": id_hashes([f"doc-{row}" for row in range(rows)]),
        "document_D": np.arange(rows),
        "window_D": np.full(rows, -1, np.int32),
        "piece_D": np.zeros(rows, np.int32),
        "row_D": np.arange(rows, dtype=np.int32),
        "text_hash_D2": np.stack([np.arange(rows), np.arange(rows)], axis=1).astype(np.uint64),
    }
    given = {
        name: np.asarray(value, defaults[name].dtype) if name in defaults and value is not None else value
        for name, value in fields.items()
    }
    return ScoreArrays(tuple(probabilities), probability_TD=probability_TD, **{**defaults, **given})
