import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "datasets", "numpy", "pyarrow", "pydantic", "faiss", "sklearn", "scipy", "pandas"}
USE_ALL = "import curator_client; [getattr(curator_client, name) for name in curator_client.__all__]"


def fresh_interpreter(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("code", [USE_ALL, "import curator_client.cli"])
def test_the_client_loads_nothing_heavy(code):
    loaded = {name.partition(".")[0] for name in fresh_interpreter(f"{code}; import sys; print(*sys.modules)")}
    assert "curator_client" in loaded
    assert loaded & HEAVY == set()


def test_importing_the_client_takes_less_than_300_ms():
    # Processor time, the best of three: a busy machine must not fail this.
    code = "import time; t = time.process_time(); import curator_client; {}; print(time.process_time() - t)"
    fastest = min(float(fresh_interpreter(code.format("curator_client.Client"))[0]) for _ in range(3))
    assert fastest < 0.3


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
