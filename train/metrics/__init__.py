"""What a trained model is judged by: ranking metrics per task, by item age, and retrieval over the catalogue.

Read `report.py` first: `REQUEST_METRICS` lists every ranking metric, and `ranking_metrics` measures them.
"""

from pinfm.train.metrics.hits import hit_metrics
from pinfm.train.metrics.ranking import auc, entropy_metrics, grouped_auc
from pinfm.train.metrics.report import REQUEST_METRICS, ranking_metrics
from pinfm.train.metrics.retrieval import RetrievalMetrics
from pinfm.train.metrics.slices import TaskRows, age_slices, item_age_seconds
from pinfm.train.metrics.table import metrics_notes, metrics_table, retrieval_table
from pinfm.train.metrics.ties import tied_runs

__all__ = [
    "REQUEST_METRICS",
    "RetrievalMetrics",
    "TaskRows",
    "age_slices",
    "auc",
    "entropy_metrics",
    "grouped_auc",
    "hit_metrics",
    "item_age_seconds",
    "metrics_notes",
    "metrics_table",
    "ranking_metrics",
    "retrieval_table",
    "tied_runs",
]
