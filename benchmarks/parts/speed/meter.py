"""What a benchmark asks of the device that it runs on: memory, the end of its work, and its peak rate."""

import time

import torch

from pinfm.train.memory import process_mib, reset_peak

# Large enough to be the practical peak, small enough to take a moment.
PRODUCT = {"cpu": 2048, "cuda": 8192}
MIB = 1 << 20


class Meter:
    """Of one device.

    Args:
        device: `cpu` or `cuda`.
    """

    def __init__(self, device: str) -> None:
        self.device = device

    def now(self) -> float:
        """Seconds on a clock that has waited for the device to finish."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def reset_peak(self) -> float:
        """Forgets the peak memory so far; MiB held now."""
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            reset_peak()
        return self.peak_mib()

    def peak_mib(self) -> float:
        """The most memory held since `reset_peak`: of the process on a CPU, of its tensors on a GPU."""
        if self.device == "cuda":
            return torch.cuda.max_memory_allocated() / MIB
        return process_mib("VmHWM")

    def product_flops(self, dtype: torch.dtype) -> float:
        """FLOP/s of a large matrix product, the machine's practical peak."""
        size = PRODUCT[self.device]
        a, b = torch.randn(2, size, size, device=self.device).to(dtype)
        start = self.now()
        a @ b
        return 2.0 * size**3 / (self.now() - start)
