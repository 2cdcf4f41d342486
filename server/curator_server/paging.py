"""Pages of lists. A page token says where the next page begins, in base64: opaque to clients, and nothing is kept for it.

Items that come or go between two pages do not shift the others. Tokens are checked, not trusted: what is not one of ours is a
mistake of the caller.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TypeVar

from curator.errors import ConfigError

DEFAULT_PAGE, MAX_PAGE = 100, 1000
_Item = TypeVar("_Item")


def page_size(wanted: int) -> int:
    """The size of a page. Raises ConfigError for a negative one."""
    if wanted < 0:
        raise ConfigError("page_size must not be negative; leave it 0 for the default.")
    return min(wanted or DEFAULT_PAGE, MAX_PAGE)


def token_of(place: str) -> str:
    """The token for a page that begins after ``place``."""
    return base64.urlsafe_b64encode(place.encode()).decode()


def place_of(token: str) -> str:
    """The place in a token, empty for none. Raises ConfigError for what is not a token."""
    try:
        return base64.urlsafe_b64decode(token).decode()
    except ValueError as error:  # not ASCII, not base64, or not UTF-8 inside
        raise ConfigError("The page_token is not one of this server's; start again without it.") from error


def page_by_name(items: Mapping[str, _Item], size: int, token: str) -> tuple[list[_Item], str]:
    """One page of named items in the order of their names, and the token of the next one, empty after the last."""
    wanted, after = page_size(size), place_of(token)
    names = sorted(name for name in items if name > after)
    chosen = names[:wanted]
    return [items[name] for name in chosen], token_of(chosen[-1]) if len(chosen) < len(names) else ""
