"""The commands of the package as forks of one process that has loaded everything, so that a shell starts them in no time.

    caller (a few lines, no imports of ours) ─socket─► zygote (imports torch and all, once) ─fork─► minder ─fork─► the command

The command has the words, environment, folder and open files of its caller, which passes signals on and ends as it ended.

A fresh process pays four seconds of imports, and the operations guide starts a dozen. What only a fresh process shows (that it
imports what it needs) is for the tests of the image and of compose. Costs one idle process.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PRELOADED = (
    "curator.cli.main", "curator.offline", "curator.serving", "curator.lm.backbone", "curator.scoring.scorer",
    "curator_client.cli", "curator_client.client", "curator_server.app", "torch", "transformers.models.auto.modeling_auto",
)  # fmt: skip
_ENTRIES = {"curator": "curator.cli.main", "curator-client": "curator_client.cli"}
_CALLER = """#!{python} -IS
import array, json, os, signal, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect({address!r})
wanted = json.dumps([{name!r}, sys.argv[1:], dict(os.environ), os.getcwd()]).encode()
line.sendmsg([len(wanted).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
line.sendall(wanted)
answers = line.makefile("rb")
pid = int(answers.readline())
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, _: os.kill(pid, number))
status = int(answers.readline())
if status < 0:
    signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
sys.exit(status)
"""


@contextmanager
def forked_commands(folder: Path) -> Iterator[Path]:
    """A folder for the path with ``curator`` and ``curator-client``, which work for the length of the block."""
    address, tools = folder / "zygote", folder / "tools"
    tools.mkdir()
    for name in _ENTRIES:
        (tools / name).write_text(_CALLER.format(python=sys.executable, address=str(address), name=name))
        (tools / name).chmod(0o755)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.deploy.forked", address], env=environment, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        yield tools
    finally:
        process.kill()
        process.communicate()


def _zygote(address: str) -> None:
    for name in _PRELOADED:
        __import__(name)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address)
        door.listen(64)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a minder ended
        print("ready", flush=True)
        while True:
            line, _ = door.accept()
            if os.fork() == 0:
                door.close()
                _mind(line)
            line.close()


def _mind(line: socket.socket) -> None:
    """Start the command, tell its id and its end; end it when the caller is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, files, _, _ = socket.recv_fds(line, 8, 3)
    wanted = line.makefile("rb").read(int.from_bytes(size, "big"))
    pid = os.fork()
    if pid == 0:
        line.close()
        _become(files, *json.loads(wanted))
    for file in files:
        os.close(file)
    line.sendall(b"%d\n" % pid)
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        if select.select([line], [], [], 0.02)[0]:
            os.kill(pid, signal.SIGKILL)
            os._exit(1)
    line.sendall(b"%d\n" % os.waitstatus_to_exitcode(ended[1]))
    os._exit(0)


def _become(files: list[int], name: str, words: list[str], environment: dict[str, str], folder: str) -> None:
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = [name, *words]
    try:
        sys.modules[_ENTRIES[name]].run()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _zygote(sys.argv[1])
