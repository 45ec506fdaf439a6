"""What benchmarks/export_memory.py starts: `pinfm` with these words; then, in MiB, what its libraries hold once
they are imported, and the most that the process has held.
"""

import sys

import pinfm.inference.export  # noqa: F401 - for what it brings
from pinfm.train.cli.main import main
from pinfm.train.memory import process_mib

if __name__ == "__main__":
    libraries = process_mib("VmRSS")
    status = main(sys.argv[1:])
    print(libraries, process_mib("VmHWM"))
    sys.exit(status)
