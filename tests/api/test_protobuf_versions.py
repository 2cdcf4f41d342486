"""The stubs import without a warning on both ends of the range of protobuf that the package asks for."""

import os
import re
import subprocess
import sys
import tomllib

import pytest

from curator.api.generate import ROOT

pytestmark = [pytest.mark.timeout(720), pytest.mark.slow]
IMPORTS = """
import google.protobuf
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from curator.api.v1 import catalog_pb2_grpc, common_pb2, jobs_pb2_grpc, scoring_pb2_grpc
wire = common_pb2.Document(id="a", text="b")
assert common_pb2.Document.FromString(wire.SerializeToString()) == wire
print(google.protobuf.__version__)
"""


def asked_for():
    """The lowest version that pyproject.toml allows, and the first that it does not."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (line,) = [one for one in wanted if one.startswith("protobuf")]
    return re.fullmatch(r"protobuf>=([\d.]+),<(\d+)", line).groups()


@pytest.mark.parametrize("end", ["lowest", "highest"])
def test_the_stubs_import_on_both_ends_of_the_range(tmp_path, end):
    lowest, too_high = asked_for()
    wanted = f"protobuf=={lowest}" if end == "lowest" else f"protobuf>={int(too_high) - 1},<{too_high}"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run([*pip, "--target", tmp_path, wanted], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{wanted} cannot be installed here")
    paths = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-W", "error", "-c", IMPORTS]
    found = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.split(".")[0] == (lowest.split(".")[0] if end == "lowest" else str(int(too_high) - 1))
