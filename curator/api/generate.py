"""Regenerate the gRPC stubs in ``curator/api/v1`` from ``proto/``: ``python -m curator.api.generate``.

Uses the pinned ``grpcio-tools`` of the test extra, whose generated code (protobuf 6.31.1) runs under every newer runtime; a
newer generator would lock out users with an older protobuf. ``google/rpc`` comes from googleapis-common-protos and is never
generated here. A test runs the same function into an empty folder and compares the bytes with what is committed.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from curator.errors import ConfigError, MissingExtraError

ROOT = Path(__file__).resolve().parents[2]


def generate(output: Path, *, root: Path = ROOT) -> list[Path]:
    """Write the stubs of every ``.proto`` file below ``root/proto`` under ``output``; returns the files written.

    Raises MissingExtraError without grpcio-tools and ConfigError when protoc refuses a file.
    """
    try:
        from grpc_tools import protoc
    except ImportError as error:
        raise MissingExtraError("Generating stubs needs grpcio-tools; install rosetta-curator[test].") from error
    sources = sorted(path.relative_to(root / "proto").as_posix() for path in (root / "proto").rglob("*.proto"))
    output.mkdir(parents=True, exist_ok=True)
    with as_file(files("grpc_tools") / "_proto") as builtin:
        # googleapis-common-protos lives in the same site folder, as google/rpc/*.proto.
        includes = [f"-I{root / 'proto'}", f"-I{builtin}", f"-I{builtin.parents[1]}"]
        outputs = [f"--{kind}_out={output}" for kind in ("python", "pyi", "grpc_python")]
        if protoc.main(["protoc", *includes, *outputs, *sources]) != 0:
            raise ConfigError("protoc refused the .proto files; its messages are above.")
    return sorted(path for path in output.rglob("*_pb2*.py*") if path.suffix in {".py", ".pyi"})


if __name__ == "__main__":
    generate(ROOT)
