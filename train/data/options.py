"""What a user may choose of a prepared dataset, whatever its source."""

from dataclasses import dataclass
from typing import Literal

from pinfm.embeddings.errors import UserError, require_types


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """What holds for every source.

    Args:
        on_bad_rows: `fail` stops at the first bad row; `skip` drops, counts and keeps bad rows in rejects.parquet.
        max_history: most events in a request's history.
        num_buckets: files that users are spread over; None takes 16, or more where a bucket would pass 4M rows,
            because a bucket's requests are sorted in memory.
        memory_gib: memory that DuckDB may use before it spills to disk.
    """

    on_bad_rows: Literal["fail", "skip"] = "fail"
    max_history: int = 256
    num_buckets: int | None = None
    memory_gib: float = 4.0

    def __post_init__(self) -> None:
        require_types("", self)
        for field in ("max_history", "num_buckets", "memory_gib"):
            value = getattr(self, field)
            if value is not None and value <= 0:
                raise UserError(f"{field} ({value}) must be positive; leave the flag out for the default")
        if not 0.1 <= self.memory_gib <= 1e6:
            raise UserError(f"memory_gib ({self.memory_gib}) must lie between 0.1 and 1,000,000")
