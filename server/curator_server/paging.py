"""Pages of lists. A page token says of which list it is and where the next page begins, in base64: opaque to clients.

Nothing is kept for it, and items that come or go between two pages do not shift the others. Tokens are checked, not trusted: what
is not one of this list's, with the same parent and filter, is a mistake of the caller.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from curator.errors import ConfigError

DEFAULT_PAGE, MAX_PAGE = 100, 1000
_Item = TypeVar("_Item")


def page_size(wanted: int) -> int:
    """The size of a page. Raises ConfigError for a negative one."""
    if wanted < 0:
        raise ConfigError("page_size must not be negative; leave it 0 for the default.")
    return min(wanted or DEFAULT_PAGE, MAX_PAGE)


def token_of(listing: str, place: str) -> str:
    """The token for the page of a list that begins after ``place``; ``listing`` names the list, its parent and its filter."""
    return base64.urlsafe_b64encode(json.dumps([listing, place]).encode()).decode()


def place_of(listing: str, token: str) -> str:
    """The place in a token of this list, empty for none. Raises ConfigError for what is not such a token."""
    if not token:
        return ""
    try:
        found: Any = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except (ValueError, RecursionError):  # not ASCII, not base64, not UTF-8, not JSON inside
        found = None
    match found:
        case [str(same), str(place)] if same == listing and place:
            return place
        case _:
            raise ConfigError("The page_token is not one of this list's; start again without it.")


def page_by_name(listing: str, items: Mapping[str, _Item], size: int, token: str) -> tuple[list[_Item], str]:
    """One page of named items in the order of their names, and the token of the next one, empty after the last."""
    wanted, after = page_size(size), place_of(listing, token)
    names = sorted(name for name in items if name > after)
    chosen = names[:wanted]
    return [items[name] for name in chosen], token_of(listing, chosen[-1]) if len(chosen) < len(names) else ""
