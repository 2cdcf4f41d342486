"""The error tree: stable unique codes, one root, and the tree drawn in the docstring is the tree that exists."""

from __future__ import annotations

import re

import pytest

from curator import errors
from curator.errors import CuratorError, all_error_classes

CLASSES = [cls for cls in all_error_classes() if cls.__module__ == "curator.errors"]


def test_every_class_has_a_code_of_its_own() -> None:
    codes = [cls.code for cls in CLASSES]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[A-Z]+(_[A-Z0-9]+)*", code) for code in codes)


def test_the_codes_are_the_published_ones() -> None:
    assert {cls.__name__: cls.code for cls in CLASSES} == {
        "CuratorError": "INTERNAL",
        "ConfigError": "CONFIG_INVALID",
        "MissingExtraError": "EXTRA_MISSING",
        "SourceError": "SOURCE_UNREADABLE",
        "SourceNotFoundError": "SOURCE_NOT_FOUND",
        "DocumentError": "DOCUMENT_INVALID",
        "LimitError": "LIMIT_EXCEEDED",
        "ModelError": "MODEL_UNUSABLE",
        "ModelNotFoundError": "MODEL_NOT_FOUND",
        "ArchitectureError": "ARCHITECTURE_UNKNOWN",
        "ArtifactError": "ARTIFACT_CORRUPT",
        "ArtifactNotFoundError": "ARTIFACT_NOT_FOUND",
        "FingerprintError": "FINGERPRINT_MISMATCH",
        "StorageError": "STORAGE_FULL",
        "InsufficientDataError": "DATA_INSUFFICIENT",
        "OverloadedError": "OVERLOADED",
        "UnreachableError": "SERVER_UNREACHABLE",
        "JobError": "JOB_CONFLICT",
        "JobNotFoundError": "JOB_NOT_FOUND",
        "AlreadyExistsError": "ALREADY_EXISTS",
        "CancelledJobError": "CANCELLED",
    }


def test_the_drawn_tree_lists_every_class_with_its_code() -> None:
    drawn = dict(re.findall(r"(\w+Error)\s+([A-Z_]+)", errors.__doc__ or ""))
    assert drawn == {cls.__name__: cls.code for cls in CLASSES}


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_a_curator_error_and_carries_its_message(cls: type[CuratorError]) -> None:
    with pytest.raises(CuratorError, match="the fix"):
        raise cls("the mistake and the fix")


def test_the_root_comes_first() -> None:
    assert all_error_classes()[0] is CuratorError
