"""Exit statuses of this project's processes, as docs/operations.md lists them."""

import signal

DONE = 0
# What the user can mend; each process tells its own.
MISTAKE = 2
# Of a group that did not find the other machines: they may still be ending what they had begun.
ALONE = 75
# What shells say of processes that these signals ended.
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
