"""How many batches of a model run at once."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from curator.lm.lanes import lane_pool, lanes_for


@dataclass(frozen=True)
class _Model:
    hidden_size: int
    device: torch.device


@pytest.mark.parametrize("width", [128, 768])
@pytest.mark.parametrize(("threads", "lanes"), [(1, 1), (2, 2), (64, 4)])
def test_a_narrow_model_on_a_cpu_has_a_lane_a_core_up_to_four(
    width: int, threads: int, lanes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert lanes_for(_Model(width, torch.device("cpu"))) == lanes  # type: ignore[arg-type]


def test_wide_models_and_gpus_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert lanes_for(_Model(1024, torch.device("cpu"))) == 1  # type: ignore[arg-type]
    assert lanes_for(_Model(128, torch.device("cuda"))) == 1  # type: ignore[arg-type]


def test_a_pool_of_lanes_shares_torchs_threads_and_gives_them_back(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, given = torch.get_num_threads(), []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    with lane_pool(3, "test") as pool:
        list(pool.map(lambda _: None, range(3)))
    assert set(given[:-1]) == {2}
    assert given[-1] == 8
    monkeypatch.undo()
    assert torch.get_num_threads() == threads
