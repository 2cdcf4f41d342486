"""Model folders: from a hub name or a path to a local folder of safetensors, and from its content to fingerprints.

A hub name is resolved once to a snapshot folder at one commit; from then on hub models and local folders are the same thing.
Only JSON, tokenizer files and safetensors are fetched. Code and pickled weights (``.bin``) are never read. A fingerprint covers
the configuration, without fields that change when a model is saved again, and the SHA-256 of every weight file; for
hub downloads that hash is the name of the cached blob, so it costs nothing, otherwise about a second a gigabyte. The
same weights cut into other shards have another fingerprint. It does not know what the weights mean.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    HTTPError,  # pyright: ignore[reportPrivateImportUsage] - of whichever HTTP library the hub client uses
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from curator import fingerprint
from curator.errors import ModelError, ModelNotFoundError

_FETCHED = ["*.json", "*.txt", "*.model"]
_WEIGHTS = "model*.safetensors"
_INDEX = "model.safetensors.index.json"
_VOLATILE = {"transformers_version", "torch_dtype", "dtype", "use_cache"}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def model_folder(
    name: str,
    *,
    revision: str | None = None,
    cache_dir: Path | None = None,
    local_files_only: bool | None = None,
    weights: bool = True,
) -> tuple[Path, str | None]:
    """The folder of a model and, for a hub name, the commit that it is a snapshot of; without ``weights`` none are fetched.

    Raises:
        ModelNotFoundError: no such folder, hub name or revision, or not in the cache while offline.
        ModelError: the hub refuses access or cannot be reached.
    """
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        if revision is not None:
            raise ModelError(f"{name} is a local folder and has no revisions; leave the revision out.")
        return folder, None
    if folder.is_dir():
        raise ModelNotFoundError(f"The folder {name} has no config.json; name a folder that save_pretrained wrote.")
    if not _HUB_NAME.fullmatch(name):
        raise ModelNotFoundError(f"There is no model folder {name!r} and this is no hub name; check the spelling.")
    offline = constants.HF_HUB_OFFLINE if local_files_only is None else local_files_only
    snapshot = _snapshot(name, revision, cache_dir, offline, weights)
    return snapshot, snapshot.name


def _snapshot(name: str, revision: str | None, cache_dir: Path | None, offline: bool, weights: bool) -> Path:
    at = f" at revision {revision!r}" if revision else ""
    try:
        return Path(
            snapshot_download(
                name,
                revision=revision,
                cache_dir=cache_dir,
                local_files_only=offline,
                allow_patterns=[*_FETCHED, _WEIGHTS] if weights else _FETCHED,
                ignore_patterns=["*/*"],
            )
        )
    except GatedRepoError as error:
        raise ModelError(f"Access to {name} is gated; accept its terms on the hub and log in.") from error
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise ModelNotFoundError(f"The hub has no model {name}{at}; check the name and the revision.") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise ModelNotFoundError(
            f"{name}{at} is neither a folder nor in the local cache"
            + (
                ", and offline mode is on; download it once without HF_HUB_OFFLINE."
                if offline
                else "; check the network."
            )
        ) from error
    except (HTTPError, OSError) as error:
        raise ModelError(f"{name}{at} could not be fetched ({type(error).__name__}); try again later.") from error


def read_config(folder: Path, name: str) -> dict[str, Any]:
    """The model's ``config.json`` as it is on disk; NaN and infinities become strings. Raises ModelError when damaged."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"), parse_constant=str)
    except FileNotFoundError as error:
        raise ModelNotFoundError(f"{name} has no config.json; it is not a transformers model.") from error
    except ValueError as error:
        raise ModelError(f"The config.json of {name} is not valid JSON; fetch the model again.") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise ModelError(f"The config.json of {name} names no model_type; it is not a transformers model.")
    return config


def weight_files(folder: Path, name: str) -> list[Path]:
    """The safetensors files that make up the weights, by name. Raises ModelError when there are none or one is missing."""
    single, index = folder / "model.safetensors", folder / _INDEX
    if single.is_file():
        return [single]
    if not index.is_file():
        pickled = any(folder.glob("*.bin"))
        found = "only pickled .bin weights" if pickled else "no model.safetensors"
        raise ModelError(
            f"{name} has {found}; convert it with save_pretrained, or name a revision that holds safetensors "
            "(on the hub often a conversion such as refs/pr/1)."
        )
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"The index {_INDEX} of {name} is damaged; fetch the model again.") from error
    missing = [shard for shard in names if "/" in shard or not (folder / shard).is_file()]
    if missing:
        raise ModelError(f"{name} lacks {len(missing)} of {len(names)} weight files ({missing[0]}); fetch it again.")
    return [folder / shard for shard in names]


def weights_fingerprint(files: list[Path]) -> str:
    """Fingerprint of the weight files' content, in the order of their names."""
    return fingerprint.of_parts(_content_hash(path) for path in files)


def config_fingerprint(config: dict[str, Any]) -> str:
    """Fingerprint of a configuration without the fields that saving it again changes."""
    return fingerprint.of_json(_stable(config))


def _stable(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _stable(item) for key, item in value.items() if key not in _VOLATILE and not key.startswith("_")}


def _content_hash(path: Path) -> str:
    blob = path.resolve()
    if path.is_symlink() and blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name):
        return blob.name
    return fingerprint.of_file(path)
