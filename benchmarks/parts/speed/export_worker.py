"""What benchmarks/export_memory.py starts: `pinfm` with these words, and then how much memory it has held at most."""

import sys

from benchmarks.parts.speed.process_memory import process_mib
from pinfm.train.cli.main import main

if __name__ == "__main__":
    status = main(sys.argv[1:])
    print(process_mib("VmHWM"))
    sys.exit(status)
