"""Options that say nothing alone, or nothing beside another: refused, because an option that is ignored is a wish that is lost.

Looked at is what stands on the command line, so defaults and the environment (``CURATOR_TOKEN``) never count. It knows no verb.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import typer

from curator.errors import ConfigError


def require_partners(context: typer.Context, partners: Mapping[str, Sequence[str]]) -> None:
    """Raise ConfigError for an option that is given without any of its partners.

    ``partners`` names for a parameter those of which one must be set, to another value than it has anyway.
    """
    for name, needed in partners.items():
        if _given(context, name) and not any(_is_set(context, other) for other in needed):
            shown = " or ".join(option_of(context.command, other) for other in needed)
            raise ConfigError(
                f"{option_of(context.command, name)} says nothing without {shown}; add that, or leave it out."
            )


def refuse_beside(context: typer.Context, master: str, ignored: Sequence[str], why: str) -> None:
    """Raise ConfigError where ``master`` is set and one of the options that it makes meaningless is given too."""
    if not _is_set(context, master):
        return
    for name in ignored:
        if _given(context, name):
            one, other = option_of(context.command, name), option_of(context.command, master)
            raise ConfigError(f"{one} says nothing beside {other}, {why}; leave one of them out.")


def option_of(command: object, name: str) -> str:
    """How users write a parameter: ``--keep-fraction``, or an argument's name."""
    for parameter in getattr(command, "params", ()):
        if parameter.name == name:
            return max(parameter.opts, key=len)
    return name


def _is_set(context: typer.Context, name: str) -> bool:
    value = context.params.get(name)
    default = next((one.default for one in context.command.params if one.name == name), None)
    return value not in (None, [], (), default)


def _given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
