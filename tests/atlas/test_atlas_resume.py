"""A build that is killed goes on and ends with the same bytes; parts of several workers merge to the same atlas."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from curator.atlas import chunks, forward_pass
from curator.atlas.build import build_atlas, build_part, work_folder
from curator.atlas.merge import merge_parts, read_part
from curator.atlas.store import Atlas, load_atlas
from curator.errors import ArtifactError, ConfigError, FingerprintError
from curator.lm import batching
from curator.shares import Share
from tests.atlas.core_world import SETTINGS, make_atlas, make_backbone, make_corpus


class _Killed(BaseException):
    """Stands for a kill: nothing in the build catches it."""


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_CHUNK_DOCUMENTS", 12)


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """Lanes share torch's threads out, and with another number of them torch sums in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def _dies_at(document: int) -> Callable[[int, int], None]:
    def progress(done: int, _: int) -> None:
        if done >= document:
            raise _Killed

    return progress


def _build(kind: str, world: Path, folder: Path, progress: Callable[[int, int], None] | None = None) -> Atlas:
    backbone = make_backbone(kind, world)
    return build_atlas(backbone, make_corpus(), SETTINGS, folder, progress=progress, snapshot_seconds=0)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_build_that_is_stopped_again_and_again_ends_with_the_same_bytes(
    kind: str, world: Path, tmp_path: Path
) -> None:
    _build(kind, world, tmp_path / "whole")
    for stop in (1, 30, 31, 95, 140, 180):
        with pytest.raises(_Killed):
            _build(kind, world, tmp_path / "stopped", _dies_at(stop))
        assert not (tmp_path / "stopped").exists()
    seen: list[int] = []
    _build(kind, world, tmp_path / "stopped", lambda done, _: seen.append(done))
    assert len(seen) == 1, "only the last chunk, whose end is not saved by itself"
    assert _bytes(tmp_path / "stopped") == _bytes(tmp_path / "whole")
    assert not work_folder(tmp_path / "stopped").exists()


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("lanes", [2, 5])
def test_the_number_of_lanes_changes_no_byte(
    kind: str, lanes: int, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_torch_thread: None
) -> None:
    monkeypatch.setattr(batching, "_MOST_TOKENS", 256)  # several batches a chunk
    monkeypatch.setattr(batching, "_FEWEST_TOKENS", 256)
    for name, count in (("one", 1), ("many", lanes)):
        monkeypatch.setattr(forward_pass, "lanes_for", lambda *_, count=count: count)
        _build(kind, world, tmp_path / name)
    assert _bytes(tmp_path / "many") == _bytes(tmp_path / "one")


@pytest.mark.usefixtures("small_chunks")
def test_chunks_after_the_last_snapshot_are_done_again_without_a_trace(world: Path, tmp_path: Path) -> None:
    backbone = make_backbone("gpt2", world)
    with pytest.raises(_Killed):
        build_atlas(backbone, make_corpus(), SETTINGS, tmp_path / "x", progress=_dies_at(100), snapshot_seconds=1e9)
    again = build_atlas(backbone, make_corpus(), SETTINGS, tmp_path / "x")
    _build("gpt2", world, tmp_path / "whole")
    assert again.manifest.spans > 0
    assert _bytes(tmp_path / "x") == _bytes(tmp_path / "whole")


def test_a_process_that_is_killed_outright_leaves_what_the_next_one_goes_on_from(world: Path, tmp_path: Path) -> None:
    make_backbone("gpt2", world)
    _build("gpt2", world, tmp_path / "whole")
    script = textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        from curator.atlas import chunks
        from curator.atlas.build import build_atlas
        from curator.lm.backbone import load_backbone
        from tests.atlas.core_world import SETTINGS, make_corpus
        backbone = load_backbone({str(world / "core-gpt2-0")!r}, device="cpu", max_tokens=40)
        def progress(done, total):
            print(done, flush=True)
            time.sleep(0.3)
        build_atlas(backbone, make_corpus(), SETTINGS, Path({str(tmp_path / "x")!r}), progress=progress, snapshot_seconds=0)
    """)
    root, saved = Path(__file__).parents[2], 0
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=root,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert process.stdout is not None
        done = (int(line) for line in process.stdout)  # a slow process tells where it begins, too
        new = list(islice((documents for documents in done if documents > saved), 2))
        saved = new[0]  # a chunk is reported when it is done, and saved before the next one is reported
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert not (tmp_path / "x").exists()
    seen: list[int] = []
    _build("gpt2", world, tmp_path / "x", lambda done, _: seen.append(done))
    assert len([done for done in seen if done > saved]) <= 2, (
        "the folds that the killed processes finished are not done again"
    )
    loaded, whole = load_atlas(tmp_path / "x"), load_atlas(tmp_path / "whole")
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_a_part_of_other_settings_or_another_corpus_is_begun_anew(world: Path, tmp_path: Path) -> None:
    with pytest.raises(_Killed):
        _build("gpt2", world, tmp_path / "x", _dies_at(1))
    other = make_corpus(50, seed=3)
    atlas = build_atlas(make_backbone("gpt2", world), other, SETTINGS, tmp_path / "x")
    assert atlas.manifest.probe_fingerprint == other.fingerprint
    alone = build_atlas(make_backbone("gpt2", world), other, SETTINGS, tmp_path / "alone")
    np.testing.assert_array_equal(atlas["signature_Nd"], alone["signature_Nd"])


def test_a_damaged_snapshot_is_begun_anew(world: Path, tmp_path: Path) -> None:
    with pytest.raises(_Killed):
        _build("gpt2", world, tmp_path / "x", _dies_at(60))
    snapshot = work_folder(tmp_path / "x") / "part-1-of-1" / "snapshot.safetensors"
    snapshot.write_bytes(snapshot.read_bytes()[:-100])
    np.testing.assert_array_equal(
        _build("gpt2", world, tmp_path / "x")["signature_Nd"], make_atlas("gpt2", world)["signature_Nd"]
    )


def test_two_builds_of_one_atlas_at_a_time_are_refused(world: Path, tmp_path: Path) -> None:
    def second(_: int, __: int) -> None:
        with pytest.raises(ConfigError, match="Another process"):
            _build("gpt2", world, tmp_path / "x")
        raise _Killed

    with pytest.raises(_Killed):
        _build("gpt2", world, tmp_path / "x", second)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("workers", [2, 3, 11])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_parts_of_any_number_of_workers_merge_to_the_same_atlas_within_fp32_rounding(
    kind: str, workers: int, world: Path, tmp_path: Path
) -> None:
    backbone, whole = make_backbone(kind, world), make_atlas(kind, world)
    for index in range(workers):
        build_part(backbone, make_corpus(), SETTINGS, tmp_path / "work", Share(index, workers))
    folders = sorted((tmp_path / "work").glob("part-*-of-*[0-9]"))
    merged = merge_parts([read_part(folder) for folder in folders[::-1]], tmp_path / "merged")
    assert merged.manifest.model_copy(update={"certificate": 0.0}) == whole.manifest.model_copy(
        update={"certificate": 0.0}
    )
    assert merged.manifest.certificate < 1e-5
    for name, array in whole.arrays.items():
        if "document_Nk" in name or "span_Nk" in name:
            assert (merged[name] == array).mean() > 0.99, name  # equal values may change places
        elif array.dtype.kind == "f":
            tolerance = 2e-3 if array.dtype == np.float16 else 1e-6
            np.testing.assert_allclose(merged[name], array, rtol=tolerance, atol=tolerance, err_msg=name)
        else:
            np.testing.assert_array_equal(merged[name], array, err_msg=name)


def test_parts_that_do_not_make_a_whole_are_refused(world: Path, tmp_path: Path) -> None:
    backbone = make_backbone("gpt2", world)
    for index in range(3):
        build_part(backbone, make_corpus(), SETTINGS, tmp_path / "work", Share(index, 3))
    parts = [read_part(tmp_path / "work" / f"part-{index + 1}-of-3") for index in range(3)]
    for wrong in (parts[:2], parts[1:], [*parts, parts[0]]):
        with pytest.raises(ArtifactError, match="name every part"):
            merge_parts(wrong, tmp_path / "x")
    other = build_part(make_backbone("gpt_neox", world), make_corpus(), SETTINGS, tmp_path / "other", Share(2, 3))
    with pytest.raises(FingerprintError, match="another atlas"):
        merge_parts([*parts[:2], other], tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_an_unfinished_part_is_refused(world: Path, tmp_path: Path) -> None:
    backbone, progress = make_backbone("gpt2", world), _dies_at(40)
    with pytest.raises(_Killed):
        build_part(backbone, make_corpus(), SETTINGS, tmp_path / "work", progress=progress, snapshot_seconds=0)
    with pytest.raises(ArtifactError, match="not complete"):
        merge_parts([read_part(tmp_path / "work" / "part-1-of-1")], tmp_path / "x")
    with pytest.raises(ArtifactError):
        read_part(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="2/8"):
        Share.parse(text)
    assert Share.parse("2/8") == Share(1, 8)
