"""What a trained model is judged by: ranking metrics per task, by item age, and retrieval over the catalogue.

Read `report.py` first: `ranking_metrics` calls everything else but `retrieval.py`.
"""

from pinfm.train.metrics.hits import hit_metrics
from pinfm.train.metrics.ranking import auc, entropy_metrics, grouped_auc
from pinfm.train.metrics.report import ranking_metrics
from pinfm.train.metrics.retrieval import RetrievalMetrics
from pinfm.train.metrics.slices import AGE_SLICES, age_slices, item_age_days
from pinfm.train.metrics.table import metrics_table
from pinfm.train.metrics.ties import TiedRuns, tied_runs

__all__ = [
    "AGE_SLICES",
    "RetrievalMetrics",
    "TiedRuns",
    "age_slices",
    "auc",
    "entropy_metrics",
    "grouped_auc",
    "hit_metrics",
    "item_age_days",
    "metrics_table",
    "ranking_metrics",
    "tied_runs",
]
