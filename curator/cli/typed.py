"""Sentences with names as users type them: ``keep_fraction`` becomes ``--keep-fraction`` where the running verb has that option.

The library that words a refusal serves Python and the wire too, and speaks of its own fields. Words in quotes, backticks and
brackets stay as they are, for they are keys of files.
"""

from __future__ import annotations

import re
from typing import Any

FIELD_OPTIONS = {
    "soft_width": "--soft",
    "windows": "--window-rule",
    "formats": "--format",
    "target_shard_bytes": "--shard-size",
    "sample_documents": "--cascade-sample",
    "CascadeOptions.recall": "--cascade-recall",
    "tls_certificate": "--tls-cert",
    "insecure=True": "--insecure",
    "field='value'": "--by value",
    "field='probability'": "--by probability",
    "grace_s": "--grace",
    "drain_delay_s": "--drain-delay",
    "max_connection_age_s": "--connection-age",
    "max_connection_grace_s": "--connection-grace",
    "max_queued_documents": "--max-queued",
    "neuron_set_id": "--name",
}
"""Fields of settings whose option has another name."""


def as_typed(sentence: str, verb: Any) -> str:
    """The sentence for users of a verb, a command or a group of them."""
    options = _options(verb)
    given = set(options.values())
    known = {name: option for name, option in options.items() if "_" in name}
    known |= {name: option for name, option in FIELD_OPTIONS.items() if option.split()[0] in given}
    if not known:
        return sentence
    names = "|".join(re.escape(name) for name in sorted(known, key=len, reverse=True))
    return re.sub(rf"(?<![\w'`\[./-])({names})(?![\w'`\]/]|\.\w)", lambda found: known[found[1]], sentence)


def _options(verb: Any) -> dict[str, str]:
    """Option by parameter, of a verb and those below it."""
    commands = (verb, *getattr(verb, "commands", {}).values())
    parameters = [one for command in commands for one in getattr(command, "params", ())]
    longest = {str(one.name): max(one.opts, key=len) for one in parameters}
    return {name: option for name, option in longest.items() if option.startswith("--")}
