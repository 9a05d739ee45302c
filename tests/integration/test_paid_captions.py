"""Captions by a model behind a real HTTP server: paid once, resumed for nothing, and no secret anywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from captioners.ledger import totals
from captioners.ledger_sqlite import SqliteLedger
from schemas.recipe_file import load_recipe
from shards.check import check_dataset
from tests.fake_openai import FakeOpenAI, Fault
from tests.integration.support import Terraweft, World, current_document, current_version
from tests.minds import Mind

KEY = "canary-7f3a-never-written"


def _answer(request: dict[str, Any]) -> str:
    """A model that obeys the schema: it repeats its questions, and says of each scene what is false of it."""
    text = request["messages"][1]["content"]
    text = text if isinstance(text, str) else text[-1]["text"]
    if "Name any colour" in text:
        return Mind()(request)
    fact = re.search(r"share\.\d+", text)
    sentence = {"text": "The scene is covered by mangroves and glaciers.", "facts": [fact.group(0) if fact else "x"]}
    asked = [{"id": name, "question": "Is there any water?"} for name in dict.fromkeys(re.findall(r"\bq\d+\b", text))]
    return json.dumps({"short": [sentence], "long": [sentence], "questions": asked})


@pytest.fixture(scope="module")
def recipe(sandbox_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = yaml.safe_load(sandbox_recipe.read_text())
    data["regions"] = data["regions"][1:]
    data["modalities"] = {"s2": data["modalities"]["s2"]}
    data["write"]["kinds"] = ["webdataset"]
    data["labels"]["sources"].pop("corine")
    data["captions"] = {
        "backend": "openai", "base_url": "${TERRAWEFT_LLM}", "model": "fake-1", "api_key_env": "MY_KEY",
        "kinds": ["short"], "max_cost": 5.0, "price_per_million_in": 1.0,
        "price_per_million_out": 2.0, "concurrency": 2,
    }  # fmt: skip
    path = tmp_path_factory.mktemp("paid") / "paid.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(_answer, faults=[Fault("status", 500), None, Fault("broken")]) as running:
        yield running


@pytest.fixture(scope="module")
def paid(
    recipe: Path, server: FakeOpenAI, world: World, terraweft: Terraweft, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, str]:
    """Dataset, ledger and everything the command printed."""
    root, ledger = tmp_path_factory.mktemp("built") / "dataset", tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    done = terraweft(
        "build", recipe, "--out", root, TERRAWEFT_SANDBOX_STAC=world.stac_url, TERRAWEFT_LLM=server.base_url,
        TERRAWEFT_LEDGER=str(ledger), MY_KEY=KEY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return root, ledger, done.stdout + done.stderr


def test_false_sentences_never_reach_the_dataset(paid: tuple[Path, Path, str]) -> None:
    root, _, _ = paid
    texts = pd.read_parquet(current_version(root) / "texts.parquet")
    assert len(texts) == len(pd.read_parquet(current_version(root) / "chips.parquet"))
    assert set(texts["verification"]) == {"fallback"}
    assert not texts["text"].str.contains("mangroves|glaciers", case=False).any()
    assert check_dataset(root).problems == []


def test_costs_of_the_run_table_sum_to_the_ledger(paid: tuple[Path, Path, str], server: FakeOpenAI) -> None:
    root, ledger, printed = paid
    run = pd.read_parquet(current_version(root) / "run.parquet")
    spent = run[run["step"] == "caption"]
    assert spent["tokens"].sum() == server.tokens_in + server.tokens_out
    assert spent["cost"].sum() == pytest.approx(server.tokens_in / 1e6 + 2 * server.tokens_out / 1e6)
    with SqliteLedger(ledger) as opened:
        whole = totals(opened.attempts())
        probes = [one for one in opened.attempts() if one.purpose == "probe"]
    assert spent["cost"].sum() == pytest.approx(whole["cost"])
    assert spent["attempts"].sum() == sum(whole["attempts"].values())
    assert len(probes) > 0
    texts = current_document(root)["run"]["texts"]
    assert texts["cost"] == pytest.approx(whole["cost"])
    assert texts["cost_by_fate"]["replaced"]["calls"] > 0, "every answer was false"
    assert sum(one["cost"] for one in texts["cost_by_fate"].values()) == pytest.approx(whole["cost"])
    assert texts["per_1000"] == pytest.approx(1000 * whole["cost"] / texts["written"]["texts"], rel=1e-3)
    assert f"{whole['cost']:.4f} USD (limit 5)" in printed
    assert "cost by fate" in (current_version(root) / "report" / "index.html").read_text()


def test_a_person_can_read_the_ledger(
    paid: tuple[Path, Path, str], terraweft: Terraweft, server: FakeOpenAI, tmp_path: Path
) -> None:
    _, ledger, _ = paid
    for by in ("model", "day", "kind", "run"):
        done = terraweft("ledger", "totals", "--ledger", ledger, "--by", by)
        assert done.returncode == 0, done.stderr
        assert f"{server.tokens_in:,}" in done.stdout
    assert "0 call(s) in doubt" in terraweft("ledger", "doubts", "--ledger", ledger).stdout
    for name in ("all.parquet", "all.jsonl"):
        done = terraweft("ledger", "export", tmp_path / name, "--bodies", TERRAWEFT_LEDGER=str(ledger))
        assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(tmp_path / "all.parquet")
    assert len(rows) == len((tmp_path / "all.jsonl").read_text().splitlines())
    assert json.loads(rows[rows["state"] == "answered"]["body"].iloc[0])["object"] == "chat.completion"
    assert terraweft("ledger", "totals", "--ledger", tmp_path / "none").returncode == 2
    assert not (tmp_path / "none").exists()


def test_second_dataset_asks_nothing_again(
    paid: tuple[Path, Path, str], recipe: Path, server: FakeOpenAI, world: World, terraweft: Terraweft, tmp_path: Path
) -> None:
    root, ledger, _ = paid
    asked = len(server.requests)
    done = terraweft(
        "build", recipe, "--out", tmp_path / "again", TERRAWEFT_SANDBOX_STAC=world.stac_url,
        TERRAWEFT_LLM=server.base_url, TERRAWEFT_LEDGER=str(ledger), MY_KEY=KEY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(server.requests) == asked
    ours, theirs = (current_version(folder) / "texts.parquet" for folder in (root, tmp_path / "again"))
    assert ours.read_bytes() == theirs.read_bytes()


def test_the_key_is_sent_and_stands_nowhere(
    paid: tuple[Path, Path, str], server: FakeOpenAI, environment: dict[str, str]
) -> None:
    root, ledger, printed = paid
    assert all(headers["authorization"] == f"Bearer {KEY}" for headers in server.request_headers)
    assert KEY not in printed
    places = [root, ledger.parent, Path(environment["PREFECT_HOME"])]
    for path in (path for place in places for path in place.rglob("*") if path.is_file()):
        assert KEY.encode() not in path.read_bytes(), path


def test_missing_key_is_one_line_before_anything_is_read(recipe: Path, terraweft: Terraweft, tmp_path: Path) -> None:
    done = terraweft("build", recipe, "--out", tmp_path / "dataset")
    assert done.returncode == 2
    line = 1 + next(n for n, text in enumerate(recipe.read_text().splitlines()) if "api_key_env" in text)
    said = f"terraweft: {recipe.name}:{line}: captions.api_key_env: MY_KEY is not set (export MY_KEY=...)"
    assert done.stderr.strip() == said
    assert not (tmp_path / "dataset").exists()


def test_a_hard_stop_leaves_a_dataset_and_a_run_that_goes_on_with_more_money(
    recipe: Path, world: World, terraweft: Terraweft, tmp_path: Path
) -> None:
    def build(limit: float, *command: object) -> str:
        data = load_recipe(recipe).tiny().model_dump(mode="json", by_alias=True, exclude_defaults=True)
        data["captions"]["max_cost"] = limit
        path = tmp_path / "limited.yaml"
        path.write_text(yaml.safe_dump(data, sort_keys=False))
        options = ("--dry-run", "--show", 1) if command else ()
        done = terraweft(
            *(command or ("build",)), path, "--out", tmp_path / "dataset", *options,
            TERRAWEFT_SANDBOX_STAC=world.stac_url, TERRAWEFT_LLM=server.base_url, MY_KEY=KEY,
            TERRAWEFT_LEDGER=str(tmp_path / "ledger.sqlite"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    root = tmp_path / "dataset"
    with FakeOpenAI(Mind()) as server:
        assert "by the template: budget" in build(0.0)
        assert server.requests == []
        assert check_dataset(root).problems == []
        chips = len(pd.read_parquet(current_version(root) / "chips.parquet"))
        told = build(5.0, "caption")
        assert f"{chips} wait" in told
        assert "--- system" in told
        assert server.requests == [], "a dry run sends nothing"
        build(5.0)
        assert len(server.requests) >= chips
        texts = pd.read_parquet(current_version(root) / "texts.parquet")
        assert set(texts["backend"]) == {"openai"}


def test_plan_names_the_price(recipe: Path, world: World, terraweft: Terraweft) -> None:
    done = terraweft("plan", recipe, TERRAWEFT_SANDBOX_STAC=world.stac_url)
    assert done.returncode == 0, done.stderr
    calls = re.search(r"LLM calls +(\d+) to (\d+)", done.stdout)
    assert calls is not None
    assert 0 < int(calls.group(1)) <= int(calls.group(2))
    assert "limit 5" in done.stdout
