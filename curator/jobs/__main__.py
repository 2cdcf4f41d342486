"""``python -m curator.jobs FOLDER``: carry out the order in a job's folder."""

from __future__ import annotations

import sys
from pathlib import Path

from curator.jobs.worker import run

if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
