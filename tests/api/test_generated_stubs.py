from itertools import pairwise
from pathlib import Path

from curator.api.generate import ROOT, generate


def test_the_committed_stubs_are_what_the_protos_generate(tmp_path):
    fresh = {path.relative_to(tmp_path): path.read_bytes() for path in generate(tmp_path)}
    committed = {path.relative_to(ROOT): path.read_bytes() for path in (ROOT / "curator/api/v1").glob("*_pb2*.py*")}
    assert fresh == committed, "run `make proto` and commit the result"


def test_every_message_field_method_and_enum_value_is_commented():
    uncommented = []
    for path in sorted((ROOT / "proto").rglob("*.proto")):
        lines = path.read_text().splitlines()
        for above, line in pairwise(lines):
            statement = line.strip()
            is_declaration = (
                statement.startswith(("message ", "service ", "rpc ", "enum ", "oneof ")) or " = " in statement
            )
            if is_declaration and not statement.startswith("//") and not above.strip().startswith("//"):
                uncommented.append(f"{path.name}: {statement}")
    assert uncommented == []


def test_enum_zero_values_are_unspecified_and_carry_the_enum_s_name():
    from curator.api.v1 import catalog_pb2, common_pb2, jobs_pb2, scoring_pb2

    enums = [
        enum
        for module in (catalog_pb2, common_pb2, jobs_pb2, scoring_pb2)
        for message in module.DESCRIPTOR.message_types_by_name.values()
        for enum in message.enum_types
    ]
    assert len(enums) >= 5
    for enum in enums:
        prefix = enum.name.upper() + "_"
        assert enum.values_by_number[0].name == prefix + "UNSPECIFIED"
        assert all(value.name.startswith(prefix) for value in enum.values)


def test_the_file_path_is_the_package_path():
    for path in (ROOT / "proto").rglob("*.proto"):
        package = ".".join(path.parent.relative_to(ROOT / "proto").parts)
        assert f"package {package};" in Path(path).read_text()
