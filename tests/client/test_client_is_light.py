import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "datasets", "numpy", "pyarrow", "pydantic", "faiss", "sklearn", "scipy", "pandas"}
USE_ALL = "import curator_client; [getattr(curator_client, name) for name in curator_client.__all__]"


def fresh_interpreter(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("code", [USE_ALL, "import curator_client.cli"])
def test_the_client_loads_nothing_heavy(code):
    loaded = {name.partition(".")[0] for name in fresh_interpreter(f"{code}; import sys; print(*sys.modules)")}
    assert "curator_client" in loaded
    assert loaded & HEAVY == set()


def test_the_client_loads_few_modules_beyond_those_of_grpc():
    # Time is what ``benchmarks/serve.py`` measures; what a machine's speed does not touch is how much there is to load.
    grpc = "import grpc, grpc.aio, google.protobuf.struct_pb2, google.rpc.error_details_pb2, zstandard, asyncio"
    ours, theirs = (set(fresh_interpreter(f"{code}; import sys; print(*sys.modules)")) for code in (USE_ALL, grpc))
    assert len(ours - theirs) < 100


def test_the_client_takes_less_than_60_mb():
    # What comes on top of the bare interpreter, as the system counts it: resident pages of this process.
    code = (
        "import os, pathlib; page = os.sysconf('SC_PAGE_SIZE')\n"
        "resident = lambda: int(pathlib.Path('/proc/self/statm').read_text().split()[1]) * page\n"
        "before = resident(); import curator_client; curator_client.Client('localhost:1').close()\n"
        "print(resident() - before)"
    )
    assert min(int(fresh_interpreter(code)[0]) for _ in range(2)) < 60 << 20


def test_the_public_names_are_these():
    import curator_client

    assert curator_client.__all__ == [
        "AsyncClient",
        "AsyncJobs",
        "BatchOptions",
        "Client",
        "ConnectionOptions",
        "FilterReport",
        "Jobs",
        "RemoteScorer",
        "RetryPolicy",
        "ShardInfo",
        "data_source",
        "filter_spec",
        "identify_spec",
        "probe_spec",
        "study_spec",
    ]
    with pytest.raises(AttributeError):
        curator_client.Clinet  # noqa: B018
