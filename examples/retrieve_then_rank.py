"""Retrieve and rank from one encoding of each history, with an exported model and its index.

python examples/retrieve_then_rank.py MODEL REQUESTS.parquet
"""

import sys

import pandas as pd

from pinfm.inference import load


def main(model: str, requests_file: str) -> None:
    """Prints the best five of 500 retrieved items for each request, by the first task."""
    scorer = load(model)
    requests = pd.read_parquet(requests_file)

    def features(found: pd.DataFrame) -> pd.DataFrame:
        """What the model reads of candidates beside the items table: from your own stores; here zeros."""
        in_table = {"candidate_item_id", "candidate_created_at", "candidate_content"}
        names = [c.name for c in scorer.columns if c.scope == "candidate" and c.dtype == "float32"]
        return pd.DataFrame(0.0, index=found.index, columns=[name for name in names if name not in in_table])

    ranked = scorer.recommend(requests, k=500, features=features)
    task = scorer.tasks[0]
    best = ranked.sort_values(["request", task], ascending=[True, False]).groupby("request").head(5)
    print(best.to_string(index=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
