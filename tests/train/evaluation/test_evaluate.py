"""The report of a run equals what the artefact's scores, counted rates and brute-force retrieval give."""

import itertools
import json
import math
import re
import shutil
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import loops
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import runs
import torch
from sklearn.metrics import log_loss, roc_auc_score

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.sharded.too_small import DoesNotFitError
from pinfm.inference import load
from pinfm.model.inputs import History
from pinfm.model.layers.tokens import gaps_to_next
from pinfm.model.stored.run_folder import RunFolder
from pinfm.model.tower import SequenceTower
from pinfm.train.cli.main import main
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.prepare import PrepareOptions, prepare
from pinfm.train.evaluation import evaluate as module_under_test
from pinfm.train.evaluation.evaluate import EvaluateOptions, evaluate, finds_items
from pinfm.train.evaluation.live import RECENT
from pinfm.train.evaluation.popularity import PRIOR_IMPRESSIONS
from pinfm.train.metrics import metrics_notes, ranking_metrics
from pinfm.train.phases import pretrain
from pinfm.train.run_folder.inputs import require_same_inputs
from pinfm.train.run_folder.place import Place

TASKS = ["click", "save", "hide"]


def report_of(tmp_path, *flags):
    assert main(["evaluate", *map(str, flags), "--report", str(tmp_path / "report.json")]) == 0
    return json.loads((tmp_path / "report.json").read_text())


def labels_of(frame, task):
    return np.concatenate(frame[f"label_{task}"].to_list())


@pytest.mark.parametrize("split", ["validation", "test"])
def test_ranking_metrics_are_those_of_the_artefact(finetuned, exported, dataset, tmp_path, capsys, split):
    report = report_of(tmp_path, finetuned, "--data", dataset, "--split", split)
    frame = loops.as_frame(PreparedDataset.open(dataset), split, runs.CONFIG.max_history)
    scores = load(exported).score(frame)
    assert report["split"] == split
    for task in TASKS:
        metrics, labels = report["metrics"]["model"][task], labels_of(frame, task)
        assert metrics["impressions"] == len(labels)
        assert metrics["positives"] == labels.sum() > 0
        assert metrics["requests"] == len(frame)
        assert metrics["auc"] == pytest.approx(roc_auc_score(labels, scores[task]), abs=1e-3)
        assert metrics["logloss"] == pytest.approx(log_loss(labels, scores[task].astype(float)), abs=1e-5)
    rankers = list(report["metrics"])
    assert rankers[:3] == ["model", "popularity", "live_popularity"]
    assert rankers[3] in RECENT
    assert rankers[4:] == ["freshest"]
    for ranker in rankers:
        assert (report["metrics"][ranker]["click"]["ne"] is None) == (ranker in rankers[3:])
    printed = capsys.readouterr().out
    assert all(word in printed for word in (*TASKS, *rankers))
    # A run of a few steps is worse than the mean rate somewhere.
    assert report["reads_histories"]
    notes = metrics_notes(report["metrics"], ["model"])
    assert notes
    assert "\n".join(notes) in printed


def test_users_requests_and_ages_of_items_are_those_of_the_dataset(finetuned, exported, dataset, tmp_path):
    report, data = report_of(tmp_path, finetuned, "--data", dataset)["metrics"]["model"], PreparedDataset.open(dataset)
    frame = loops.as_frame(data, "test", runs.CONFIG.max_history)
    request = np.repeat(np.arange(len(frame)), frame["candidate_item_id"].map(len))
    created, items = (np.concatenate(frame[f"candidate_{name}"].to_list()) for name in ("created_at", "item_id"))
    scores = load(exported).score(frame)
    expected = ranking_metrics(
        {task: scores[task].to_numpy() for task in TASKS},
        {task: labels_of(frame, task).astype(bool) for task in TASKS},
        user_id=frame["user_id"].to_numpy()[request],
        request_index=request,
        age_seconds=frame["request_timestamp"].to_numpy()[request] - created,
        unseen=~np.isin(items, [item for row in loops.requests_of(data, "train") for item in row["item_id"]]),
    )
    for task in TASKS:
        ours, theirs = (pd.json_normalize(each[task]).iloc[0].astype(float) for each in (report, expected))
        # Scores differ in the last digit, which may change the order of two that are nearly alike.
        pd.testing.assert_series_equal(ours, theirs, check_names=False, rtol=0.02, atol=0.02)
        assert ours["by_age.<7d.auc"] != ours["by_age.>=28d.auc"]


def test_popularity_is_the_smoothed_rate_of_the_training_split(finetuned, dataset, tmp_path):
    data = PreparedDataset.open(dataset)
    shown, acted = defaultdict(int), defaultdict(int)
    for request in loops.requests_of(data, "train"):
        for item, label in zip(request["item_id"], request["label_click"], strict=True):
            shown[item] += 1
            acted[item] += label
    overall = sum(acted.values()) / sum(shown.values())
    rate = {item: (acted[item] + PRIOR_IMPRESSIONS * overall) / (n + PRIOR_IMPRESSIONS) for item, n in shown.items()}
    requests = loops.requests_of(data, "test")
    scores = [rate.get(item, overall) for request in requests for item in request["item_id"]]
    labels = [label for request in requests for label in request["label_click"]]
    popularity = report_of(tmp_path, finetuned, "--data", dataset)["metrics"]["popularity"]["click"]
    assert popularity["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
    assert popularity["logloss"] == pytest.approx(log_loss(labels, scores), abs=1e-6)
    unseen = [i for request in requests for i in request["item_id"] if i not in shown]
    assert popularity["by_age"]["unseen"]["impressions"] == len(unseen)


@pytest.mark.parametrize("kind", ["pretrained", "finetuned"])
def test_retrieval_equals_brute_force(request, kind, dataset, tmp_path, capsys):
    run = request.getfixturevalue(kind)
    report = report_of(tmp_path, run, "--data", dataset)["retrieval"]
    data, tower = PreparedDataset.open(dataset), SequenceTower.from_run(run).eval()
    begin, end = data.info.splits["test"]
    positive = data.info.schema.positive_codes()
    catalogue = torch.tensor([item["item_id"] for item in data.items().to_pylist()])
    ranks = []
    for events in loops.events_by_user(data).values():
        hits = [i for i, e in enumerate(events) if begin <= e["timestamp"] < end and e["action"] in positive]
        if not hits or not hits[0]:
            continue
        target, before = events[hits[0]], events[: hits[0]]
        newest = before[-runs.CONFIG.max_history :]
        history = History(
            torch.tensor([len(newest)]), *(torch.tensor([e[name] for e in newest]) for name in loops.EVENT_COLUMNS)
        )
        with torch.no_grad():
            context = tower.encoder.encode_context(history, tower.item_embedding(history.item_id))
            state = tower.encoder.states(context, gaps_to_next(history))[-1]
            scores = state @ tower.encoder.psi(tower.item_embedding(catalogue)).T
        seen = {e["item_id"] for e in before} - {target["item_id"]}
        own = scores[catalogue == target["item_id"]]
        rivals = [s for s, item in zip(scores, catalogue.tolist(), strict=True) if item not in seen]
        ranks.append(sum(bool(score > own) for score in rivals))
    assert report["queries"] == len(ranks) > 5
    for k in (10, 50, 100):
        assert report[f"hr@{k}"] == pytest.approx(np.mean([rank < k for rank in ranks]), abs=1e-9)
        gains = [1 / math.log2(rank + 2) if rank < k else 0.0 for rank in ranks]
        assert report[f"ndcg@{k}"] == pytest.approx(np.mean(gains), abs=1e-4)
    assert report["mean_rank"] == pytest.approx(np.mean(ranks), abs=0.5)
    printed = capsys.readouterr().out
    assert f"\n{len(ranks)} queries; " in f"\n{printed}"
    assert "ndcg@10" in printed
    assert "last_item" in printed


def test_a_fine_tuned_run_is_asked_for_items_where_its_tower_knows_them(finetuned, dataset, tmp_path):
    assert "retrieval" not in report_of(tmp_path, finetuned, "--data", dataset, "--retrieval", "false")
    run = RunFolder.open(finetuned)
    untold = replace(runs.CONFIG, finetune=replace(runs.CONFIG.finetune, next_token_weight=0.0))
    assert finds_items(run, untold)  # by its pretraining
    run.manifest["pretrained"] = None
    assert finds_items(run, runs.CONFIG)
    assert not finds_items(run, untold)
    assert not finds_items(run, replace(runs.CONFIG, use_tower=False))


def test_retrieval_baselines_equal_brute_force(pretrained, dataset, tmp_path):
    whole = report_of(tmp_path, pretrained, "--data", dataset)
    report, data = whole["retrieval_baselines"], PreparedDataset.open(dataset)
    begin, end = data.info.splits["test"]
    train_end, positive = data.info.splits["train"][1], data.info.schema.positive_codes()
    users = loops.events_by_user(data)
    everything = [e for events in users.values() for e in events if e["action"] in positive]
    known = Counter(e["item_id"] for e in everything if e["timestamp"] < train_end)
    after = defaultdict(Counter)
    for events in users.values():
        for before, event in itertools.pairwise(events):
            if event["action"] in positive and event["timestamp"] < train_end:
                after[before["item_id"]][event["item_id"]] += 1
    popularity, recent, last_item = report
    assert (popularity, last_item) == ("popularity", "last_item")
    window = RECENT[recent] or math.inf
    ranks = defaultdict(list)
    for events in users.values():
        hits = [i for i, e in enumerate(events) if begin <= e["timestamp"] < end and e["action"] in positive]
        if not hits or not hits[0]:
            continue
        target, before = events[hits[0]], events[: hits[0]]
        moment = target["timestamp"]
        lately = Counter(e["item_id"] for e in everything if moment - window <= e["timestamp"] < moment)
        answers = {item["item_id"] for item in data.items().to_pylist()} - {e["item_id"] for e in before}
        followed = after[before[-1]["item_id"]]
        for name, score in [
            ("popularity", lambda item: known[item]),
            (recent, lambda item, lately=lately: lately[item]),
            ("last_item", lambda item, followed=followed: (followed[item], known[item])),
        ]:
            own = score(target["item_id"])
            rivals = [score(item) for item in answers if item != target["item_id"]]
            ranks[name].append((sum(s > own for s in rivals), sum(s == own for s in rivals)))
    for name, found in ranks.items():
        assert report[name]["queries"] == whole["retrieval"]["queries"] == len(found)
        assert report[name]["mean_rank"] == pytest.approx(np.mean([above + ties / 2 for above, ties in found]))
        hit = [min(max(10 - above, 0) / (ties + 1), 1.0) for above, ties in found]
        assert report[name]["hr@10"] == pytest.approx(np.mean(hit))
        assert report[name]["targets_excluded"] == whole["retrieval"]["targets_excluded"]


@pytest.fixture
def rewritten(dataset, tmp_path):
    """Rewrites the schema in a copy of dataset.json."""

    def rewrite(change):
        values = json.loads((dataset / "dataset.json").read_text())
        change(values["schema"])
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "dataset.json").write_text(json.dumps(values))
        return tmp_path / "other"

    return rewrite


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda schema: schema.update(actions=["save", "click", "hide"]), r"has actions \['save', 'click', 'hide'\]"),
        (lambda schema: schema.update(surfaces=["home"]), "has surfaces"),
        (lambda schema: schema.update(tasks=["click"]), "has tasks"),
        (
            lambda schema: schema.update(ids={"user_id": "text"}),
            "has user_id as text, the run was trained on user_id as",
        ),
        (
            lambda schema: schema.update(ids={"item_id": "uint64"}),
            "has item_id as uint64, .* as int64; prepare both al",
        ),
        (
            lambda schema: schema["features"].pop(0),
            r"other features .* \(surface, categorical of the request, which the d",
        ),
        (
            lambda schema: schema["features"][1].update(kind="categorical"),
            r"\(position, categorical .*, which the run la",
        ),
        (lambda schema: schema["features"].reverse(), "has other features than the run was trained with; prepare it"),
    ],
)
def test_another_datasets_codes_are_refused(finetuned, rewritten, change, sentence):
    with pytest.raises(UserError, match=sentence):
        evaluate(finetuned, runs.CONFIG, rewritten(change), "test")


def test_content_of_another_length_is_refused(finetuned, tmp_path):
    prepare(replace(runs.SOURCE, content_dim=3), tmp_path / "other", PrepareOptions(num_buckets=2))
    with pytest.raises(UserError, match="content"):
        evaluate(finetuned, runs.CONFIG, tmp_path / "other", "test")


def test_a_pretrained_run_asks_for_the_same_vocabulary_too(pretrained, rewritten):
    with pytest.raises(UserError, match="has surfaces"):
        evaluate(pretrained, runs.CONFIG, rewritten(lambda schema: schema.update(surfaces=["shop"])), "test")


@pytest.fixture
def nothing_to_test(dataset, tmp_path):
    """The dataset without its test split."""
    folder = shutil.copytree(dataset, tmp_path / "emptied")
    for bucket in (folder / "impressions" / "test").iterdir():
        pq.write_table(pq.read_table(bucket).slice(0, 0), bucket)
    values = json.loads((folder / "dataset.json").read_text())
    end = values["splits"]["test"][1]
    values["splits"]["test"] = [end, end]
    (folder / "dataset.json").write_text(json.dumps(values))
    return folder


def test_an_empty_split_is_named(finetuned, pretrained, nothing_to_test):
    with pytest.raises(UserError, match="the test split has no requests; evaluate another split"):
        evaluate(finetuned, runs.CONFIG, nothing_to_test, "test")
    with pytest.raises(UserError, match="nobody with a history has a positive event in the test split"):
        evaluate(pretrained, runs.CONFIG, nothing_to_test, "test")


def test_an_earlier_checkpoint_is_evaluated_by_its_step(finetuned, pretrained, dataset, tmp_path, capsys):
    for run, of in ((finetuned, lambda r: r["metrics"]["model"]), (pretrained, lambda r: r["retrieval"])):
        first, *_, last = (int(path.name.removeprefix("step-")) for path in RunFolder.open(run).checkpoints())
        earlier = runs.interrupted(run, tmp_path / run.name, first)
        by_step = of(report_of(tmp_path, run, "--data", dataset, "--checkpoint", first))
        assert by_step == of(report_of(tmp_path, earlier, "--data", dataset))
        newest = of(report_of(tmp_path, run, "--data", dataset))
        assert by_step != newest == of(report_of(tmp_path, run, "--data", dataset, "--checkpoint", last))
        assert main(["evaluate", str(run), "--data", str(dataset), "--checkpoint", "5"]) == 2
        assert re.search(rf"has no checkpoint of step 5; it has those of steps {first}, .*{last}\.$", errors(capsys))


def errors(capsys):
    return capsys.readouterr().err.strip()


def test_predictions_go_to_a_file_of_their_own(finetuned, pretrained, dataset, tmp_path, capsys):
    for path, run, told in [
        (tmp_path, finetuned, "must be a file, not a folder or a device"),
        (finetuned / "x.parquet", finetuned, "lies within .*finetuned, which is read; give a file elsewhere"),
        (dataset / "x.parquet", finetuned, "lies within .*dataset, which is read; give a file elsewhere"),
        (tmp_path / "x.parquet", pretrained, "is a pretrained run, which predicts no task; leave --predictions out"),
    ]:
        assert main(["evaluate", str(run), "--data", str(dataset), "--predictions", str(path)]) == 2
        assert re.search(told, errors(capsys))
        assert not list(tmp_path.glob("*.parquet"))


def test_several_processes_are_refused(finetuned, dataset, monkeypatch):
    @contextmanager
    def two(device):
        yield SimpleNamespace(size=lambda: 2)

    monkeypatch.setattr(module_under_test, "process_group", two)
    with pytest.raises(UserError, match="evaluate runs in one process; start it without torchrun or torchx"):
        evaluate(finetuned, runs.CONFIG, dataset, "test")


def test_tables_that_do_not_fit_are_evaluated_elsewhere(finetuned, dataset, monkeypatch):
    def shard(*_):
        raise DoesNotFitError("the id tables need 40.5 GiB", ["take 3 ranks"])

    monkeypatch.setattr(module_under_test, "shard", shard)
    with pytest.raises(UserError, match=r"^the id tables need 40\.5 GiB; evaluate on a machine with more memory\.$"):
        evaluate(finetuned, runs.CONFIG, dataset, "test", EvaluateOptions(device="cpu"))


def test_a_device_that_is_not_there_is_refused(finetuned, dataset):
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(UserError, match="torch sees no CUDA device"):
        evaluate(finetuned, runs.CONFIG, dataset, "test", EvaluateOptions(device="cuda"))


def test_a_tower_is_told_the_targets_time_or_not(dataset, tmp_path):
    config = replace(runs.CONFIG, tower=replace(runs.CONFIG.tower, request_time=True))
    pretrain(config, Place(data=dataset, out=tmp_path / "timed"))
    told, said, untold = (
        report_of(tmp_path, tmp_path / "timed", "--data", dataset, *flags)["retrieval"]
        for flags in ((), ("--tell-time", "true"), ("--tell-time", "false"))
    )
    assert told == said != untold
    assert told["queries"] == untold["queries"]


def test_retrieval_asks_for_nothing_of_impressions(pretrained, finetuned, dataset, tmp_path):
    other = shutil.copytree(dataset, tmp_path / "other")
    info = json.loads((other / "dataset.json").read_text())
    info["schema"]["tasks"] = info["schema"]["tasks"][:1]
    (other / "dataset.json").write_text(json.dumps(info))
    expected = report_of(tmp_path, pretrained, "--data", dataset)["retrieval"]
    assert report_of(tmp_path, pretrained, "--data", other)["retrieval"] == expected
    with pytest.raises(UserError, match="has tasks"):
        require_same_inputs(RunFolder.open(finetuned), PreparedDataset.open(other))
