"""Free memory as systems report it, and the speed of a model that is not there."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from curator.lm import memory, speed
from curator.lm.memory import free_memory, is_out_of_memory
from curator.lm.shape import meta_model, shape_of
from curator.lm.speed import forward_speed, one_layer, product_speed
from curator.zoo.catalog import zoo_path

CPU = torch.device("cpu")


def test_a_container_s_limit_bounds_what_the_machine_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  9000 kB\nMemAvailable:    8000 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    assert free_memory(CPU) == 8000 * 1024
    for name, content in (
        ("memory.max", "max"),
        ("memory.current", "4000000"),
        ("memory.stat", "inactive_file 1000000"),
    ):
        (tmp_path / name).write_text(content)
    assert free_memory(CPU) == 8000 * 1024
    (tmp_path / "memory.max").write_text("5000000\n")
    assert free_memory(CPU) == 2_000_000
    (tmp_path / "meminfo").unlink()
    (tmp_path / "memory.max").unlink()
    assert free_memory(CPU) is None


def test_a_device_that_does_not_say_is_unknown() -> None:
    assert free_memory(torch.device("meta")) is None


_THREE_BLOCKS_AGAIN_AND_AGAIN = """
import resource, sys
from curator.lm.memory import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "kept" else True
for _ in range(40):
    blocks = [b"x" * (16 << 20) for _ in range(3)]
    del blocks
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def _faults(how: str, **tuned: str) -> tuple[str, int]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", _THREE_BLOCKS_AGAIN_AND_AGAIN, how]
    told = subprocess.run(command, env=environment | tuned, capture_output=True, text=True, check=True).stdout.split()
    return told[0], int(told[1])


@pytest.mark.skipif(sys.platform != "linux", reason="the C library is tuned on Linux alone")
def test_memory_that_was_freed_is_used_again_without_asking_the_kernel() -> None:
    kept, faults = _faults("kept")
    if kept == "False":
        pytest.skip("this C library has no mallopt")
    _, usual = _faults("given back")
    pages = 40 * 3 * (16 << 20) // resource.getpagesize()
    assert usual - faults > pages / 4


def test_who_tunes_the_c_library_is_left_alone() -> None:
    assert _faults("kept", MALLOC_TRIM_THRESHOLD_="1000000")[0] == "False"


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("x"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory"), True),
        (RuntimeError("shape mismatch"), False),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(error: Exception, full: bool) -> None:
    assert is_out_of_memory(error) == full


@pytest.mark.parametrize("name", ["neox-64x2", "gpt2-64x2", "opt-64x2", "llama-64x2"])
def test_one_layer_of_every_zoo_family_can_be_timed(name: str) -> None:
    model = meta_model(str(zoo_path(name)))
    shape = shape_of(model)
    small = one_layer(model.config, name, torch.float32, CPU)
    assert len(shape_of(small).widths) == 1
    assert shape_of(small).widths[0] == shape.widths[0]
    assert model.config.num_hidden_layers == 2  # the given configuration stays as it is
    found = forward_speed(model.config, name, shape, torch.float32, CPU, budget_s=0.05)
    assert found.how == "layer"
    assert 0 < found.tokens <= 128
    assert found.flop_per_second > 1e5


def test_a_layer_that_does_not_fit_leaves_the_speed_of_a_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "free_memory", lambda _: 1000)
    model = meta_model(str(zoo_path("gpt2-64x2")))
    found = forward_speed(model.config, "gpt2", shape_of(model), torch.float32, CPU, budget_s=0.02)
    assert (found.how, found.tokens) == ("product", 0)
    assert found.flop_per_second > 1e6


def test_an_architecture_that_cannot_be_cut_leaves_the_speed_of_a_product(monkeypatch: pytest.MonkeyPatch) -> None:
    def uncut(*_: object) -> None:
        raise ValueError("layers come in pairs")

    monkeypatch.setattr(speed, "one_layer", uncut)
    model = meta_model(str(zoo_path("gpt2-64x2")))
    assert forward_speed(model.config, "gpt2", shape_of(model), torch.float32, CPU, budget_s=0.02).how == "product"


def test_a_product_has_a_speed_in_every_type() -> None:
    assert product_speed(torch.bfloat16, CPU, budget_s=0.0) > 1e6
