"""Which part of a job one of several independent processes makes: the second of eight, written ``2/8``.

An array of a batch system hands such parts to processes that never speak to each other. It does not know what is shared out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from curator.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Share:
    """Which part one worker makes: number ``index`` of ``count``, from 0."""

    index: int = 0
    count: int = 1

    def __str__(self) -> str:
        return f"part-{self.index + 1}-of-{self.count}"

    @classmethod
    def parse(cls, text: str) -> Share:
        """Read ``2/8``. Raises ConfigError for anything else."""
        number, mark, count = text.partition("/")
        if not (mark and number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
            raise ConfigError(f"{text!r} names no part; write 2/8 for the second of eight.")
        return cls(int(number) - 1, int(count))

    def of(self, numbers: Sequence[int]) -> Sequence[int]:
        """Every ``count``-th of some numbers: neighbours, which are often alike in size, go to different parts."""
        return numbers[self.index :: self.count]
