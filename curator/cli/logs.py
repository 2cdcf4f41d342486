"""Where log records go on the command line, and what other libraries may say there.

Records of our packages go to standard error: readable lines, or one JSON object a line with ``--log-json`` for machines that
collect logs. Both carry the ``extra`` fields that the packages attach. Other libraries are heard from WARNING on, and their
progress bars are off, because ours are in the same place. It does not know what the records mean.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime

from rich.console import Console
from rich.highlighter import NullHighlighter
from rich.logging import RichHandler

OUR_PACKAGES = ("curator", "curator_client", "curator_server")
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
_STANDARD = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"}
_QUIET = {
    "DATASETS_VERBOSITY": "error",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",  # forks after use would print a warning, and batches are tokenized in few calls
    "TRANSFORMERS_VERBOSITY": "error",
}


def quiet_libraries() -> None:
    """Keep the bars and notices of other libraries off the screen; what the user has set himself is left alone."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


def set_up_logging(verbosity: int, *, as_json: bool) -> None:
    """Send records to standard error: warnings, with 1 also information, with 2 and more everything."""
    if as_json:
        handler: logging.Handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter())
    else:
        handler = RichHandler(console=Console(stderr=True), show_path=False, highlighter=NullHighlighter())
        handler.setFormatter(PlainFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in OUR_PACKAGES:
        logging.getLogger(package).setLevel(_LEVELS[min(verbosity, len(_LEVELS) - 1)])


class JsonFormatter(logging.Formatter):
    """One record as one JSON object: time, level, logger, message, the extra fields, and the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line without a line break in it."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **extras(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class PlainFormatter(logging.Formatter):
    """The message with the extra fields behind it, as ``name=value``."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        told = " ".join(f"{name}={value}" for name, value in extras(record).items())
        text = f"{record.getMessage()}  {told}".rstrip()
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def extras(record: logging.LogRecord) -> dict[str, object]:
    """The fields that the caller attached to a record; not those with a leading underscore, which libraries (Ray) put on all."""
    found = record.__dict__.items()
    return {name: value for name, value in found if name not in _STANDARD and not name.startswith("_")}
