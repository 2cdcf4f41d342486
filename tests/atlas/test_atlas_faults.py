"""Models that compute nonsense and disks that are full: one clear error, and nothing half-written."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from curator.atlas.accumulators import LayerSums
from curator.atlas.batches import Tensors
from curator.atlas.build import build_atlas
from curator.atlas.part import Part, Snapshot
from curator.errors import ArtifactError, ModelError, StorageError
from curator.lm.backbone import load_backbone
from tests.atlas.core_world import SETTINGS, make_backbone, make_corpus


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_model_with_values_that_are_not_finite_is_named_with_its_layer(
    poison: float, world: Path, tmp_path: Path
) -> None:
    make_backbone("gpt2", world)
    backbone = load_backbone(str(world / "core-gpt2-0"), device="cpu", max_tokens=40)
    with torch.no_grad():
        backbone.sites[1].up.bias[5] = poison  # type: ignore[union-attr]
    with pytest.raises(ModelError, match=r"not finite in layer 1.*--dtype float32"):
        build_atlas(backbone, make_corpus(), SETTINGS, tmp_path / "atlas")
    assert not (tmp_path / "atlas").exists()


def test_a_value_that_is_not_finite_on_a_held_back_span_alone_is_found_too(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, add, poisoned = make_backbone("gpt2", world), LayerSums.add, []

    def add_poisoned(self: LayerSums, tokens_TU: torch.Tensor, batch: Tensors, sketched: int) -> object:
        """As if one token that only held-back spans read were infinite."""
        end = int(batch.pool.offsets[sketched])
        hidden = set(batch.pool.index[end:].tolist()) - set(batch.pool.index[:end].tolist())
        if hidden and not poisoned:
            poisoned.append(min(hidden))
            tokens_TU = tokens_TU.clone()
            tokens_TU[poisoned[0], 3] = float("inf")
        return add(self, tokens_TU, batch, sketched)

    monkeypatch.setattr(LayerSums, "add", add_poisoned)
    with pytest.raises(ModelError, match="not finite in layer 0"):
        build_atlas(backbone, make_corpus(), SETTINGS, tmp_path / "atlas")
    assert poisoned


def test_a_pass_that_fails_leaves_no_thread_however_long_its_error_is_kept(world: Path, tmp_path: Path) -> None:
    make_backbone("gpt2", world)
    backbone = load_backbone(str(world / "core-gpt2-0"), device="cpu", max_tokens=40)

    def stop(_done: int, _of: int) -> None:
        raise KeyError("progress")

    with pytest.raises(KeyError, match="progress") as kept:
        build_atlas(backbone, make_corpus(), SETTINGS, tmp_path / "atlas", progress=stop, snapshot_seconds=0)
    assert kept.tb is not None  # its frames are alive, and with them whatever they did not close
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("atlas-")] == []


def test_a_disk_without_room_is_an_error_before_the_first_forward_pass(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = make_backbone("gpt2", world)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    monkeypatch.setattr(backbone.model, "forward", None)
    with pytest.raises(StorageError, match=r"needs .* GB .* are free"):
        build_atlas(backbone, make_corpus(), SETTINGS, tmp_path / "atlas")
    assert not (tmp_path / "atlas").exists()


def test_a_disk_that_fills_up_in_the_middle_leaves_no_atlas_and_the_next_build_goes_on(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.posix_fallocate, []

    def fills_up(descriptor: int, start: int, length: int) -> None:
        calls.append(length)
        if len(calls) > 4:
            raise OSError(errno.ENOSPC, "full")
        real(descriptor, start, length)

    monkeypatch.setattr(os, "posix_fallocate", fills_up)
    with pytest.raises(StorageError, match="No space left on device"):
        build_atlas(make_backbone("gpt2", world), make_corpus(), SETTINGS, tmp_path / "atlas", snapshot_seconds=0)
    assert not (tmp_path / "atlas").exists()
    monkeypatch.setattr(os, "posix_fallocate", real)
    begun: list[int] = []
    snapshot = Part.snapshot

    def noted(part: Part) -> Snapshot:
        begun.append((found := snapshot(part)).counts["next_chunk"])
        return found

    monkeypatch.setattr(Part, "snapshot", noted)
    build_atlas(make_backbone("gpt2", world), make_corpus(), SETTINGS, tmp_path / "atlas")
    assert begun[0] >= 1, "the chunks before the disk was full are not done again"


def test_a_limit_of_the_operating_system_is_one_sentence_too(world: Path, tmp_path: Path) -> None:
    make_backbone("gpt2", world)
    script = textwrap.dedent(f"""
        import resource
        from pathlib import Path
        from curator.atlas.build import build_atlas
        from curator.errors import StorageError
        from curator.lm.backbone import load_backbone
        from tests.atlas.core_world import SETTINGS, make_corpus
        backbone = load_backbone({str(world / "core-gpt2-0")!r}, device="cpu", max_tokens=40)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            build_atlas(backbone, make_corpus(), SETTINGS, Path({str(tmp_path / "atlas")!r}))
        except StorageError as error:
            print(error)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert "cannot be written (File too large)" in done.stdout, done.stderr
    assert not (tmp_path / "atlas").exists()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000


def test_a_corpus_whose_documents_are_all_too_short_for_the_model_gives_an_atlas_of_the_dead(
    world: Path, tmp_path: Path
) -> None:
    corpus = make_corpus()
    short = replace(corpus, documents=tuple(replace(d, text=d.text[:40]) for d in corpus.documents))
    settings = SETTINGS.model_copy(update={"sketch_dimensions": 64, "min_active_spans": 100_000})
    atlas = build_atlas(make_backbone("gpt2", world), short, settings, tmp_path / "atlas")
    assert atlas.manifest.dead_neurons == atlas.neurons
    assert not atlas["signature_Nd"].any()


def test_sums_that_are_kept_in_bfloat16_give_no_atlas(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LayerSums.add

    def rounding(
        layer: LayerSums, tokens_TU: torch.Tensor, batch: Tensors, sketched: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        held = real(layer, tokens_TU, batch, sketched)
        layer.power_4U.copy_(layer.power_4U.bfloat16())
        layer.block_2wU.copy_(layer.block_2wU.bfloat16())
        return held

    monkeypatch.setattr(LayerSums, "add", rounding)
    with pytest.raises(ArtifactError, match="float64 referee"):
        build_atlas(make_backbone("gpt2", world), make_corpus(), SETTINGS, tmp_path / "atlas")
    assert not (tmp_path / "atlas").exists()
