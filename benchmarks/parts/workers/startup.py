"""What benchmarks/startup.py starts: runs a command, and tells the CPU seconds and the most memory that it took.

It imports the standard library alone, so that its own size stays below what it measures.
"""

import json
import os
import sys


def main() -> None:
    """The command is this program's own arguments; what it prints is dropped."""
    nothing = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
    child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=nothing)
    _, status, used = os.wait4(child, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 2):  # help, and a mistake that is told
        raise RuntimeError(f"{' '.join(sys.argv[1:])} ended with status {os.waitstatus_to_exitcode(status)}")
    print(json.dumps({"seconds": used.ru_utime + used.ru_stime, "mib": used.ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
