"""What the tests of jobs ask for, and how they wait for it."""

import time

from curator_client import identify_spec, probe_spec, study_spec

from curator.records import Document

EXAMPLES = [Document(f"e{number}", "tree and leaf " * 60) for number in range(5)]


def study(**more):
    return study_spec({"small": ["models/a", "models/b"]}, probe_spec({"law": EXAMPLES}, **more))


def identify(domains=("law",), **more):
    return identify_spec("models/a", ["models/b"], dict.fromkeys(domains, EXAMPLES), **more)


def until(wanted, seconds=20):
    deadline = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)
