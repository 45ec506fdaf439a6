"""What test_full_disks.py runs: commands in a process whose files can't grow beyond a number of bytes.

Usage: limited.py BYTES COMMANDS.json; prints a JSON list of [status, stderr], one a command.
"""

import contextlib
import io
import json
import resource
import sys

from pinfm.train.cli.main import main


def run_all(most_bytes: int, commands: list[list[str]]) -> list[tuple[int, str]]:
    if most_bytes:
        sys.dont_write_bytecode = True  # Python would keep the half of a file, and read it in the next process
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    ended = []
    for command in commands:
        with contextlib.redirect_stderr(io.StringIO()) as told, contextlib.redirect_stdout(io.StringIO()):
            status = main(command)
        ended.append((status, told.getvalue()))
    return ended


if __name__ == "__main__":
    with open(sys.argv[2]) as file:
        print(json.dumps(run_all(int(sys.argv[1]), json.load(file))))
