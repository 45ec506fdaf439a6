"""Keeps third-party notices that a user can do nothing about, and what other processes repeat, out of the terminal."""

import logging
import os
import warnings

# Loggers that announce their own internals on every run.
CHATTY_LOGGERS = ("torchrec", "torch.fx._symbolic_trace", "torch.distributed", "fbgemm_gpu")
# Packages whose deprecation notices speak of calls between themselves.
NOTICE_MODULES = r"(torch|torchrec|fbgemm_gpu|torchmetrics|tensordict|pyre_extensions)(\..*)?"


def hush_libraries() -> None:
    """Silences these warnings and loggers in this process; errors still come through."""
    for category in (FutureWarning, UserWarning, DeprecationWarning):
        warnings.filterwarnings("ignore", category=category, module=NOTICE_MODULES)
    # TorchScript is deprecated upstream and works on every Python that pinfm supports.
    warnings.filterwarnings("ignore", message=r"`torch\.jit\.")
    for name in CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)


def is_first_process() -> bool:
    """Whether this process, of those that a launcher started, speaks for all; known before they have joined."""
    return os.environ.get("RANK", "0") == "0"
