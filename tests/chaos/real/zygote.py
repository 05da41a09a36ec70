"""The process that others are forked from: everything imported, no thread, no event loop.

`python -m tests.chaos.real.zygote FD` serves the socket FD, a JSON object a line: {"fork": options}
answers with the pid; {"poll": pid} with its exit code, negative for a signal, null while it runs;
{"reap": pid} waits for its end and lets its pid go. It ends with its socket, and everything forked
ends with it.
"""

import asyncio
import ctypes
import gc
import json
import logging
import os
import signal
import socket
import sys
from typing import NoReturn, cast

from tests.chaos.real.options import Options
from tests.chaos.real.roles import run
from trainer.child import die_with_parent
from twofold import faults

_CLONE_NEWNET = 0x40000000


def main(arguments: list[str]) -> None:
    """Serves the socket whose number is the first argument."""
    die_with_parent(os.getppid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # a collection in a forked process need not touch, and so copy, what is shared
    with socket.socket(fileno=int(arguments[0])) as stream, stream.makefile("rw") as lines:
        for line in lines:
            request = cast("dict[str, object]", json.loads(line))
            if "fork" in request:
                answer: object = _fork(request["fork"], stream)
            elif "poll" in request:
                answer = _poll(cast("int", request["poll"]))
            else:
                answer = os.waitpid(cast("int", request["reap"]), 0)[0]
            lines.write(json.dumps(answer) + "\n")
            lines.flush()


def _fork(options: object, stream: socket.socket) -> int:
    zygote = os.getpid()
    pid = os.fork()
    if pid == 0:
        die_with_parent(zygote)
        os.close(stream.fileno())
        _become(Options(**cast("dict[str, str]", options)))  # pyright: ignore[reportArgumentType] - as `fork` sent them
    return pid


def _become(options: Options) -> NoReturn:
    code = 70
    try:
        descriptor = os.open(options.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, 2)
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
        if options.namespace:
            _enter(options.namespace)
        faults.arm_from(options.faults)
        asyncio.run(run(options))
        code = 0
    except BaseException:
        logging.getLogger(__name__).exception("a process broke")
    finally:
        logging.shutdown()
        os._exit(code)


def _enter(namespace: str) -> None:
    """Joins a network namespace."""
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _poll(pid: int) -> int | None:
    # It stays a zombie: nobody else gets its pid while the harness may still send it signals.
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


if __name__ == "__main__":
    main(sys.argv[1:])
