"""The exception tree of rosetta-curator; every class carries a stable machine-readable code.

    CuratorError                     INTERNAL
    |-- ConfigError                  CONFIG_INVALID        a setting or command-line value is wrong
    |-- MissingExtraError            EXTRA_MISSING         an optional dependency is not installed
    |-- SourceError                  SOURCE_UNREADABLE     a text source as a whole cannot be read
    |   `-- SourceNotFoundError      SOURCE_NOT_FOUND
    |-- DocumentError                DOCUMENT_INVALID      one document is bad; its neighbours go on
    |-- LimitError                   LIMIT_EXCEEDED        a size cap was hit
    |-- ModelError                   MODEL_UNUSABLE
    |   |-- ModelNotFoundError       MODEL_NOT_FOUND
    |   `-- ArchitectureError        ARCHITECTURE_UNKNOWN  no MLP neurons could be located
    |-- ArtifactError                ARTIFACT_CORRUPT
    |   |-- ArtifactNotFoundError    ARTIFACT_NOT_FOUND
    |   `-- FingerprintError         FINGERPRINT_MISMATCH  artifacts of different worlds were combined
    |-- StorageError                 STORAGE_FULL          a disk is full, or does not answer
    |-- InsufficientDataError        DATA_INSUFFICIENT     too little text or too few labels to decide
    |-- OverloadedError              OVERLOADED            try again later
    |   `-- UnreachableError         SERVER_UNREACHABLE    nobody answers at this address
    |-- JobError                     JOB_CONFLICT          a job, or what it needs, is not in the state that is asked for
    |   |-- JobNotFoundError         JOB_NOT_FOUND
    |   `-- AlreadyExistsError       ALREADY_EXISTS        a name or request id is taken by something else
    `-- CancelledJobError            CANCELLED

A message is one sentence that names the mistake and the fix; it may be shown to users and sent to clients.
Details that only an operator should see go to the log, not into the message. ``curator/api/status.py`` maps the codes to gRPC.
"""

from __future__ import annotations


class CuratorError(Exception):
    """Root of every error that rosetta-curator raises on purpose."""

    code = "INTERNAL"


class ConfigError(CuratorError):
    """A setting, command-line value or request field is wrong; so is a place that may not be written."""

    code = "CONFIG_INVALID"


class MissingExtraError(CuratorError):
    """An optional dependency is needed and not installed."""

    code = "EXTRA_MISSING"


class SourceError(CuratorError):
    """A text source as a whole cannot be read."""

    code = "SOURCE_UNREADABLE"


class SourceNotFoundError(SourceError):
    """A text source does not exist."""

    code = "SOURCE_NOT_FOUND"


class DocumentError(CuratorError):
    """One document is invalid; the documents around it are unaffected."""

    code = "DOCUMENT_INVALID"


class LimitError(CuratorError):
    """Something that arrived is larger than the cap for it."""

    code = "LIMIT_EXCEEDED"


class ModelError(CuratorError):
    """A model was found but cannot be used."""

    code = "MODEL_UNUSABLE"


class ModelNotFoundError(ModelError):
    """No model under this name, folder or revision."""

    code = "MODEL_NOT_FOUND"


class ArchitectureError(ModelError):
    """The MLP hidden neurons of an architecture could not be located."""

    code = "ARCHITECTURE_UNKNOWN"


class ArtifactError(CuratorError):
    """An artifact on disk is incomplete or damaged."""

    code = "ARTIFACT_CORRUPT"


class ArtifactNotFoundError(ArtifactError):
    """No artifact at this place."""

    code = "ARTIFACT_NOT_FOUND"


class FingerprintError(ArtifactError):
    """Two artifacts that must agree on a fingerprint do not."""

    code = "FINGERPRINT_MISMATCH"


class StorageError(CuratorError):
    """A disk is full or does not answer; what was there before is unharmed."""

    code = "STORAGE_FULL"


class InsufficientDataError(CuratorError):
    """There is too little text, or there are too few labels, to decide."""

    code = "DATA_INSUFFICIENT"


class OverloadedError(CuratorError):
    """No capacity now; the same request may succeed later."""

    code = "OVERLOADED"


class UnreachableError(OverloadedError):
    """Nobody answers at this address, or not in time; who waits and tries again meets either in the same way."""

    code = "SERVER_UNREACHABLE"


class JobError(CuratorError):
    """A job, or a resource that a job needs or makes, is not in the state that was asked for."""

    code = "JOB_CONFLICT"


class JobNotFoundError(JobError):
    """No job of this name."""

    code = "JOB_NOT_FOUND"


class AlreadyExistsError(JobError):
    """A name, or a request id, already stands for something else."""

    code = "ALREADY_EXISTS"


class CancelledJobError(CuratorError):
    """The work was cancelled before it finished."""

    code = "CANCELLED"


def all_error_classes() -> list[type[CuratorError]]:
    """Every class of the tree, root first, in definition order."""
    found: list[type[CuratorError]] = [CuratorError]
    for cls in found:
        found.extend(cls.__subclasses__())
    return found
