"""Which files a URI stands for, and which part of each is meant.

    ?part=train|pool|test    our split by hash, of any kind of source
    ?split=NAME              a saved split of a DatasetDict, as ``hf:`` has them; of any other source the same as ``part``

Both together take a part, by hash, of a saved split. Whether a folder is a DatasetDict is known only when it is looked at, so a
name that it does not have is an error when the source is opened. Costs the listing, and one small file of each DatasetDict.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from curator.errors import ConfigError
from curator.text.columnar import arrow_parts
from curator.text.places import Place, find_places
from curator.text.splits import Split
from curator.text.uris import SourceUri


class Located(NamedTuple):
    """One file or Arrow folder, the URI that names it and this part of it alone, and the part by hash that is meant."""

    place: Place
    uri: str
    part: Split | None


def locate(uri: SourceUri) -> list[Located]:
    """The files of a path, folder, glob or address, in order; never empty.

    Raises as ``find_places`` does, and ConfigError for a split that is not there.
    """
    return [found for place in find_places(uri) for found in _within(uri, place)]


def _within(uri: SourceUri, place: Place) -> Iterator[Located]:
    saved = arrow_parts(place) if "split" in uri.query and place.is_folder else [place]
    if saved == [place]:
        yield Located(place, uri.at(place.location), uri.hash_split)
        return
    name = uri.query["split"]
    if name not in (names := [part.name for part in saved]):
        raise ConfigError(
            f"{place} has no saved split {name!r}; choose ?split= of: {', '.join(names)}, or ?part=train|pool|test."
        )
    chosen, rest = saved[names.index(name)], uri.without_split()
    yield Located(chosen, rest.at(chosen.location), rest.hash_split)
