"""The embedded corpus ``env:<domain>``: real text that any Python installation with our dependencies already has.

Each domain is a rule for choosing files below two roots, the standard library and the installed packages. Files are taken in
the order of a seeded hash until the character budget is full, cut at natural boundaries (blank lines before a new top-level
block, paragraphs), and packed into documents of 1,200 to 4,800 characters. Blocks seen before in the domain (case and
whitespace ignored) are dropped, so that one licence that ships a hundred times counts once. ``source`` is the file's path
below its root, the same on every machine with the same packages; splits are made by it.

Cost: reading about twice the budget; a second or two per domain. It does not know the language of a text, nor whether a file
was generated.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.parser import Parser
from hashlib import sha1
from pathlib import Path

from curator import fingerprint
from curator.errors import ConfigError, InsufficientDataError
from curator.records import Document

MIN_DOCUMENT_CHARS = 250
MAX_DOCUMENT_CHARS = 6_000
_TARGET_CHARS = (1_200, 4_800)
_MAX_FILE_BYTES = 1 << 20
_MAX_DOCUMENTS_PER_SOURCE = 24
_TOP_LEVEL_BLOCK = re.compile(r"\n\s*\n(?=\S)")
_PARAGRAPH = re.compile(r"\n\s*\n")
_LEADING_COMMENT = re.compile(r"\A(?:\s*(?://[^\n]*\n|#[^\n]*\n|/\*.*?\*/))+", re.DOTALL)
_LONG_STRING = re.compile(r'"""([^"]{200,}?)"""')
_NOT_CODE = re.compile(r"(^|/)(encodings/(cp|mac|iso|big|gb|koi)|pydoc_data/|_pyrepl/unicode|.*_pb2)")

Reader = Callable[[Path], str]


@dataclass(frozen=True, slots=True)
class DomainRule:
    """How one embedded domain is harvested.

    ``wanted`` decides on a file by its path below the root, ``read`` turns the file into text, ``boundary`` is where that
    text may be cut.
    """

    name: str
    summary: str
    wanted: Callable[[str], bool]
    read: Reader
    boundary: re.Pattern[str]


def environment_domains() -> tuple[str, ...]:
    """Names of the embedded domains, in a fixed order."""
    return tuple(_RULES)


def harvest(domain: str, *, max_chars: int = 12_000_000, seed: int = 0) -> list[Document]:
    """All documents of an embedded domain, deduplicated, in seeded order, about ``max_chars`` characters at most.

    Raises ConfigError for an unknown domain and InsufficientDataError when this installation has no such text.
    """
    rule = _RULES.get(domain)
    if rule is None:
        known = ", ".join(_RULES)
        raise ConfigError(f"There is no embedded domain {domain!r}; choose one of: {known}.")
    documents = {document.id: document for document in _harvest_rule(rule, max_chars, seed)}
    if not documents:
        raise InsufficientDataError(f"This Python installation holds no text for the embedded domain {domain!r}.")
    return sorted(documents.values(), key=lambda document: fingerprint.of_parts([str(seed), document.id]))


def _harvest_rule(rule: DomainRule, max_chars: int, seed: int) -> Iterator[Document]:
    seen_blocks: set[str] = set()
    taken = 0
    for source, path in _files_in_seeded_order(rule, seed):
        blocks = _fresh_blocks(rule.boundary.split(_read_or_empty(rule, path)), seen_blocks)
        for text in _pack(blocks)[:_MAX_DOCUMENTS_PER_SOURCE]:
            taken += len(text)
            yield Document(
                id=f"{rule.name}-{sha1(text.encode(), usedforsecurity=False).hexdigest()[:12]}",
                text=text,
                domain=rule.name,
                source=source,
            )
        if taken >= max_chars:
            return


def _files_in_seeded_order(rule: DomainRule, seed: int) -> list[tuple[str, Path]]:
    found: dict[str, Path] = {}
    for label, root in _roots():
        for folder, relative, names in _walk(root):
            if label == "stdlib" and relative.startswith(("site-packages/", "dist-packages/")):
                continue
            for name in names:
                path = folder / name
                if rule.wanted(relative + name) and path.is_file() and path.stat().st_size <= _MAX_FILE_BYTES:
                    found[f"{label}/{relative}{name}"] = path
    return sorted(found.items(), key=lambda item: fingerprint.of_parts([str(seed), item[0]]))


def _walk(root: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """Each folder below ``root`` with its path from there (ending in a slash, empty for the root) and its file names."""
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if name != "__pycache__"]
        relative = Path(folder).relative_to(root).as_posix()
        yield Path(folder), "" if relative == "." else f"{relative}/", names


def _roots() -> list[tuple[str, Path]]:
    paths = sysconfig.get_paths()
    named = [("stdlib", paths["stdlib"]), ("site", paths["purelib"]), ("include", paths["include"])]
    common = ("common-licenses", "/usr/share/common-licenses")  # on every Debian and Ubuntu
    return [(label, Path(folder)) for label, folder in (*named, common) if Path(folder).is_dir()]


def _read_or_empty(rule: DomainRule, path: Path) -> str:
    try:
        return rule.read(path)
    except (OSError, UnicodeDecodeError, SyntaxError, ValueError):
        return ""  # other people's files: binary data and Python 2 sources are expected among them


def _fresh_blocks(blocks: list[str], seen: set[str]) -> list[str]:
    fresh: list[str] = []
    for block in blocks:
        normal = " ".join(block.lower().split())
        if not normal or (len(normal) > 60 and normal in seen):
            continue
        seen.add(normal)
        fresh.append(block.strip("\n"))
    return fresh


def _pack(blocks: list[str]) -> list[str]:
    """Join neighbouring blocks up to a target size that the content decides, so that equal files are cut alike."""
    documents: list[str] = []
    current: list[str] = []
    size, target = 0, 0
    for block in (piece for whole in blocks for piece in _cut_long(whole)):
        if current and size + len(block) > MAX_DOCUMENT_CHARS:
            documents.append("\n\n".join(current))
            current, size = [], 0
        if not current:
            low, high = _TARGET_CHARS
            target = low + int((high - low) * fingerprint.unit_interval(block))
        current.append(block)
        size += len(block) + 2
        if size >= target:
            documents.append("\n\n".join(current))
            current, size = [], 0
    if current:
        documents.append("\n\n".join(current))
    return [text for text in documents if MIN_DOCUMENT_CHARS <= len(text) <= MAX_DOCUMENT_CHARS]


def _cut_long(block: str) -> Iterator[str]:
    limit = _TARGET_CHARS[1]
    while len(block) > limit:
        at = block.rfind("\n", 1, limit)
        at = at if at > 0 else limit
        yield block[:at]
        block = block[at:].lstrip("\n")
    if block.strip():
        yield block


def _read_plain(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _read_code(path: Path) -> str:
    """Source code without the comment it opens with: that is a licence, and licences are a domain of their own."""
    return _LEADING_COMMENT.sub("", _read_plain(path), count=1)


def _read_prose(path: Path) -> str:
    """Documentation text; of a package's METADATA only the description, of ``pydoc_data/topics.py`` the topics."""
    text = _read_plain(path)
    if path.name == "METADATA":
        return str(Parser().parsestr(text).get_payload())
    if path.name == "topics.py":
        topics = ast.literal_eval(text[text.index("{") :].strip())
        return "\n\n".join(str(topic) for topic in topics.values())
    return text


def _read_docstrings(path: Path) -> str:
    """The long triple-quoted strings of a Python file; a regular expression, for parsing took ten times as long."""
    return "\n\n".join(inspect.cleandoc(text) for text in _LONG_STRING.findall(_read_plain(path)))


def _is_python(path: str) -> bool:
    # scientific packages are left to the domain `docstrings`, so that the two share no text
    return path.endswith(".py") and not _NOT_CODE.search(path) and not path.startswith(_DOCSTRING_PACKAGES)


def _is_licence(path: str) -> bool:
    name = path.rsplit("/", 1)[-1].lower()
    licence_like = name.startswith(
        ("license", "licence", "copying", "notice", "copyright", "gpl", "lgpl", "gfdl", "mpl")
    )
    in_common = "/" not in path and path.split("-", maxsplit=1)[0] in _COMMON_LICENCES
    return (licence_like or in_common) and not name.endswith((".py", ".pyc", ".h"))


def _is_prose(path: str) -> bool:
    documentation = path.endswith((".md", ".rst")) and not _is_licence(path)
    return documentation or path.endswith((".dist-info/METADATA", "pydoc_data/topics.py"))


_COMMON_LICENCES = {"GPL", "LGPL", "GFDL", "MPL", "Apache", "Artistic", "CC0"}
_DOCSTRING_PACKAGES = ("numpy/", "scipy/", "sklearn/", "matplotlib/", "pandas/", "networkx/")
_RULES = {
    rule.name: rule
    for rule in (
        DomainRule("python", "standard library and package sources", _is_python, _read_code, _TOP_LEVEL_BLOCK),
        DomainRule(
            "cpp",
            "C, C++ and CUDA headers, most of them from the torch wheel",
            lambda path: path.endswith((".h", ".hpp", ".cuh")),
            _read_code,
            _PARAGRAPH,
        ),
        DomainRule("legal", "licence texts and notices", _is_licence, _read_plain, _PARAGRAPH),
        DomainRule("prose", "package descriptions and documentation", _is_prose, _read_prose, _PARAGRAPH),
        DomainRule(
            "docstrings",
            "reference documentation of the scientific packages",
            lambda path: path.endswith(".py") and path.startswith(_DOCSTRING_PACKAGES),
            _read_docstrings,
            _PARAGRAPH,
        ),
        DomainRule("stubs", "type stubs", lambda path: path.endswith(".pyi"), _read_code, _TOP_LEVEL_BLOCK),
        DomainRule(
            "cython",
            "Cython sources",
            lambda path: path.endswith((".pyx", ".pxd", ".pxi", ".tp")),
            _read_code,
            _TOP_LEVEL_BLOCK,
        ),
    )
}
