"""Progress and tables. Results go to standard output, everything that moves goes to standard error.

On a terminal a stage of work is a bar; elsewhere (a log file, a pipe, a container) it is one line when it begins, so that logs
stay readable. Tables are drawn without a terminal too, 120 columns wide. It does not know what the numbers mean.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from curator.filtering.progress import Progress as FilterProgress

_PIPE_WIDTH = 120
_LINE_EVERY_S = 10.0


def stdout_console() -> Console:
    """Where results are printed."""
    return _console(stderr=False)


def stderr_console() -> Console:
    """Where progress and remarks are printed."""
    return _console(stderr=True)


def say(text: str) -> None:
    """One line of result; never wrapped, never coloured, so that it can be read by another program."""
    stdout_console().print(text, soft_wrap=True, markup=False, highlight=False)


def remark(text: str) -> None:
    """One line on standard error."""
    stderr_console().print(text, soft_wrap=True, markup=False, highlight=False)


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, left: int = 1) -> None:
    """Print a table; the first ``left`` columns are text, the others numbers, aligned to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell(value)) for value in row))
    stdout_console().print(table)


def cell(value: object) -> str:
    """A value as it stands in a table: counts with separators, numbers with three digits, nothing measured as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


class ConsoleReporter:
    """Shows stages of work; the ``Reporter`` of identification. Use as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or stderr_console()
        self._progress = _bars(self._console) if self._console.is_terminal else None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress:
            if kind is None:
                self._finish()
            self._progress.stop()

    def stage(self, title: str, total: int | None = None) -> None:
        """A new step begins; the one before it is over."""
        if self._progress is None:
            size = f" ({total:,})" if total else ""
            self._console.print(f"{title}{size}", soft_wrap=True, markup=False, highlight=False)
            return
        self._finish()
        self._task = self._progress.add_task(title, total=total)

    def advance(self, done: int) -> None:
        """So many units of the step are done."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done)

    def _finish(self) -> None:
        if self._progress is not None and self._task is not None:
            total = self._progress.tasks[self._progress.task_ids.index(self._task)].total or 1
            self._progress.update(self._task, total=total, completed=total)


class FilterMeter:
    """Shows how far a filter is: phase, steps, tokens a second, time left. Give it to a job as ``watch``."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or stderr_console()
        self._last_line = time.monotonic()
        self._phase, self._scored = "", ""
        self._progress = _bars(self._console) if self._console.is_terminal else None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()

    def __call__(self, state: FilterProgress) -> None:
        """Show the state of the phase."""
        new, self._phase = state.phase != self._phase, state.phase
        if state.phase == "score" and state.tokens:
            self._scored = self.text(state)
        if self._progress is not None:
            if new or self._task is None:
                self._task = self._progress.add_task(state.phase)
            self._progress.update(
                self._task, description=self.text(state), total=state.total or None, completed=state.done
            )
        elif time.monotonic() - self._last_line >= _LINE_EVERY_S:
            self._last_line = time.monotonic()
            self._console.print(self.text(state), soft_wrap=True, markup=False, highlight=False)

    @property
    def scored(self) -> str:
        """How far and how fast this run scored; empty when it did not."""
        return self._scored

    @staticmethod
    def text(state: FilterProgress) -> str:
        """The state in words; until something was done nothing is said of speed."""
        words = [f"{state.phase}: {state.done:,} of {state.total:,} steps" if state.total else state.phase]
        if state.detail:
            words.append(state.detail)
        if state.records:
            words.append(f"{state.records:,} records")
        if state.tokens:
            words.append(f"{state.tokens_per_second:,.0f} tokens/s")
        if state.seconds_left:
            words.append(f"{_duration(state.seconds_left)} left")
        return ", ".join(words)


def _duration(seconds: float) -> str:
    """Hours and minutes, or seconds where it is less than two minutes."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min" if seconds >= 3600 else f"{seconds / 60:.0f} min"


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=_PIPE_WIDTH)


def _bars(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
