"""Rules about the tree itself: who imports whom, what stays light, and what no file may hold."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "curator": ROOT / "curator",
    "curator_client": ROOT / "client/curator_client",
    "curator_server": ROOT / "server/curator_server",
}
GENERATED = ROOT / "curator/api/v1"
MAX_LINES = 350
LIGHT = ("curator_client", "curator.api", "curator.filtering", "curator.text.sources", "curator.text.segmentation")
HEAVY = ("torch", "transformers", "faiss", "sklearn", "datasets")
# The client, the wire and scoring on a server must work in the base install, which has none of the engine's libraries.
BASE_ONLY = (
    "curator_client",
    "curator.api",
    "curator.factories",
    "curator.orders",
    "curator.filtering.batches",
    "curator.filtering.job",
)
NOT_IN_BASE = (
    *HEAVY,
    "numpy",
    "pyarrow",
    "scipy",
    "safetensors",
    "pandas",
    "matplotlib",
    "jinja2",
    "grpc_tools",
    "prometheus_client",
)

FIND_HEAVY = """
import importlib, sys
names, heavy = sys.argv[1].split(","), sys.argv[2].split(",")
for name in names:
    importlib.import_module(name)
print(",".join(sorted(name for name in heavy if name in sys.modules)))
"""
IMPORT_WITHOUT = """
import importlib, sys
names, absent = sys.argv[1].split(","), set(sys.argv[2].split(","))
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r} in the base install", name=name)
sys.meta_path.insert(0, Absent())
for name in names:
    importlib.import_module(name)
"""


def source_files():
    """Every hand-written module of the three packages."""
    found = [path for folder in PACKAGES.values() for path in folder.rglob("*.py") if GENERATED not in path.parents]
    assert len(found) > 20
    return sorted(found)


def label(path):
    return path.relative_to(ROOT).as_posix()


def module_names():
    """Import name of every module in the tree, generated ones included."""
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            if parts[-1] != "__main__":
                yield ".".join((package, *(parts[:-1] if parts[-1] == "__init__" else parts)))


def modules_of(rooms):
    names = [name for name in module_names() if any(name == room or name.startswith(f"{room}.") for room in rooms)]
    for room in rooms:
        assert any(name == room or name.startswith(f"{room}.") for name in names), f"{room} does not exist"
    return names


def python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=360, check=False
    )


def tracked_files():
    """Text files that git tracks or would track, so that the rule holds before the commit too."""
    listing = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listing.stdout.split("\0")):
        try:
            yield ROOT / name, (ROOT / name).read_text(encoding="utf-8")
        except (
            UnicodeDecodeError,
            FileNotFoundError,
            IsADirectoryError,
        ):  # weights and figures; deleted, not yet committed
            continue


def test_imports_go_one_way():
    result = python("-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache", "--no-logo")
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"Contracts: \d+ kept, 0 broken", result.stdout)


def test_the_light_packages_never_load_a_heavy_library():
    result = python("-c", FIND_HEAVY, ",".join(modules_of(LIGHT)), ",".join(HEAVY))
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == ""


def test_client_wire_and_remote_scoring_import_in_the_base_install():
    result = python("-c", IMPORT_WITHOUT, ",".join(modules_of(BASE_ONLY)), ",".join(NOT_IN_BASE))
    assert result.returncode == 0, result.stderr


def test_the_probe_of_heavy_libraries_sees_one_that_is_loaded():
    assert python("-c", FIND_HEAVY, "json", "json").stdout.strip() == "json"
    assert python("-c", IMPORT_WITHOUT, "numpy", "numpy").returncode != 0


@pytest.mark.parametrize("path", source_files(), ids=label)
def test_a_module_explains_itself_and_keeps_the_house_rules(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "the module has no docstring"
    assert text.count("\n") <= MAX_LINES, f"the file is longer than {MAX_LINES} lines; a room is missing"
    relative = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    assert not relative, f"relative imports in lines {relative}"
    if path.parent != ROOT / "curator/cli" and path.name not in {
        "cli.py",
        "cli_jobs.py",
        "cli_models.py",
        "cli_server.py",
    }:
        printing = [
            node.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        ]
        assert not printing, f"print in lines {printing}; log, or print in cli"


def test_no_file_names_a_machine_path_or_a_package_index():
    # Spelt in pieces, because this file is searched as well.
    folders = "|".join(("work", "root", "Users", "scratch", "tmp"))
    hosts = "|".join(
        ("py" + r"pi\.", "python" + "hosted", r"download\.py" + "torch", "index" + "-url", "find" + "-links")
    )
    forbidden = re.compile(rf"(?:^|[\s\"'`(=:])/(?:{folders})/|{hosts}", re.MULTILINE)
    found = [
        f"{label(path)}:{text.count(chr(10), 0, match.start()) + 1}: {match.group().strip()}"
        for path, text in tracked_files()
        for match in forbidden.finditer(text)
    ]
    assert not found, found


def test_every_test_file_has_a_name_of_its_own():
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
