"""A split's requests as frames, with the histories that the dataset has of them: what `pinfm score --data` reads.

Scoring knows nothing of training, so it finds `dataset_requests` under the entry point group `pinfm.requests`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from pinfm.embeddings.errors import UserError
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.loader.requests import RequestReader, RequestSource
from pinfm.train.loader.streams import Draw
from pinfm.train.run_folder.parity import requests_frame, with_logged_ids


def dataset_requests(data: Path, split: str, max_history: int, batch_size: int) -> Iterator[pd.DataFrame]:
    """Reads a split, one bucket in memory at a time.

    Args:
        data: a prepared dataset.
        split: `train`, `validation` or `test`.
        max_history: newest events of a history that the model reads.
        batch_size: most requests of a frame.

    Yields:
        One row a request, with the columns that a model of this dataset takes, and `request_id`; ids are as the log
        writes them.

    Raises:
        UserError: it is no prepared dataset, it has no impressions, or the split is empty.
    """
    dataset = PreparedDataset.open(data)
    source = RequestSource(dataset, split, max_history=min(max_history, dataset.info.max_history))
    reader = RequestReader(dataset.info.schema, dataset.item_attributes, 0.0, share_histories=False)
    found = False
    for bucket in range(source.num_buckets):
        requests = source.read(bucket)
        count = len(requests.candidate_length)
        for start in range(0, count, batch_size):
            rows = np.arange(start, min(start + batch_size, count))
            # The draws of candidate id randomisation, which is off.
            draw = Draw(bucket=requests, rows=rows, rng=np.random.default_rng(0))
            yield with_logged_ids(requests_frame(reader(draw), dataset.info.schema), dataset)
            found = True
    if not found:
        raise UserError(f"the {split} split of {data} has no requests; score another split.")
