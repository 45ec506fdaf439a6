"""A prepared dataset read by obvious loops, which the loader and the evaluation are compared with."""

from typing import Any

import pandas as pd

from pinfm.train.data.dataset import PreparedDataset

EVENT_COLUMNS = ("item_id", "action", "surface", "timestamp")


def events_by_user(dataset: PreparedDataset) -> dict[int, list[dict[str, Any]]]:
    """Every user's events in time order."""
    users: dict[int, list[dict[str, Any]]] = {}
    for bucket in range(dataset.info.num_buckets):
        for event in dataset.events(bucket).to_pylist():
            users.setdefault(event["user_id"], []).append(event)
    return users


def history_of(events: list[dict[str, Any]], before: int, max_history: int) -> list[dict[str, Any]]:
    """The newest events strictly before a time."""
    return [event for event in events if event["timestamp"] < before][-max_history:]


def requests_of(dataset: PreparedDataset, split: str) -> list[dict[str, Any]]:
    """Every request of a split."""
    return [row for bucket in range(dataset.info.num_buckets) for row in dataset.requests(split, bucket).to_pylist()]


def as_frame(dataset: PreparedDataset, split: str, max_history: int) -> pd.DataFrame:
    """A split's requests as `pinfm score` reads them, with the labels beside."""
    users, rows = events_by_user(dataset), []
    content = {item["item_id"]: item["content"] for item in dataset.items().to_pylist()}
    for request in requests_of(dataset, split):
        history = history_of(users.get(request["user_id"], []), request["timestamp"], max_history)
        row = {"request_timestamp": request.pop("timestamp"), "candidate_item_id": request.pop("item_id")}
        row["candidate_created_at"] = request.pop("created_at")
        row["candidate_content"] = [content[item] for item in row["candidate_item_id"]]
        for name in EVENT_COLUMNS:
            row[f"history_{name}"] = [event[name] for event in history]
        rows.append({**request, **row})
    return pd.DataFrame(rows)
