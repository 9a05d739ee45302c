"""What a recipe may not hold is said before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.request import request_of
from flows.site import api_key, find_recipe, require_publishable, require_variables, store_options, work_folder
from schemas.errors import DatasetError, RecipeError
from shards.object_storage import ObjectStorage
from shards.storage import FolderStorage, StoreOptions


@pytest.mark.parametrize("href", ["/home/me/catalog.json", "https://host/stac?sig=abc&se=1", "https://me:secret@host/"])
def test_what_would_be_published_and_may_not_is_one_line(href: str) -> None:
    recipe, _ = find_recipe(Path("sandbox"))
    require_publishable(recipe)
    catalogs = {name: catalog.model_copy(update={"href": href}) for name, catalog in recipe.catalogs.items()}
    with pytest.raises(RecipeError, match="would be published") as caught:
        require_publishable(recipe.model_copy(update={"catalogs": catalogs}))
    assert "\n" not in caught.value.line()
    assert "abc" not in caught.value.line()
    assert "secret@" not in caught.value.line()


def test_a_key_is_one_word_without_the_line_break_of_its_file() -> None:
    recipe, _ = find_recipe(Path("sandbox"))
    captions = recipe.captions.model_copy(update={"api_key_env": "MY_KEY"})  # type: ignore[union-attr]
    named = recipe.model_copy(update={"captions": captions})
    assert api_key(named, {"MY_KEY": "sk-1\n"}) == "sk-1"
    assert api_key(named, {"MY_KEY": "Basic bWU6d29yZA==\n"}) == "Basic bWU6d29yZA=="
    for wrong in ("", " ", "ключ", "sk-1\nsk-2", "sk 1", "Basic me word"):
        with pytest.raises(RecipeError, match="MY_KEY holds no key") as caught:
            api_key(named, {"MY_KEY": wrong})
        assert not wrong.strip() or wrong not in caught.value.line()


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ({}, "TERRAWEFT_LLM is not set"),
        ({"TERRAWEFT_LLM": "model.example/v1"}, "the server's address is none"),
        ({"TERRAWEFT_LLM": "https://me:word@model.example/v1"}, "a user name or password"),
    ],
)
def test_where_the_model_is_is_asked_before_anything_is_read(known: dict[str, str], told: str) -> None:
    """It was found when the captions' turn came, after all pixels."""
    recipe, folder = find_recipe(Path("sandbox"))
    writer = {"backend": "openai", "base_url": "${TERRAWEFT_LLM}", "model": "m"}
    captions = recipe.captions.model_validate(recipe.captions.model_dump() | writer)  # type: ignore[union-attr]
    asks = recipe.model_copy(update={"captions": captions})
    stac = {"TERRAWEFT_SANDBOX_STAC": "http://127.0.0.1:9"}
    with pytest.raises(RecipeError, match=told) as caught:
        request_of(asks, folder, "gs://data/one", stac | known)
    assert "captions.base_url" in caught.value.line()
    assert "word@" not in caught.value.line()
    request_of(asks, folder, "gs://data/one", stac | {"TERRAWEFT_LLM": "https://model.example/v1"})


def test_no_log_in_comes_by_a_variable_either() -> None:
    """Variables are in tasks that travel, and libraries log addresses."""
    recipe, _ = find_recipe(Path("sandbox"))
    with pytest.raises(RecipeError, match=r"catalogs\..*user name or password.*credentials") as caught:
        require_variables(recipe, {"TERRAWEFT_SANDBOX_STAC": "https://me:word@host"})
    assert "word@" not in caught.value.line()


def test_object_stores_are_reached_by_what_the_environment_says() -> None:
    said = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_REGION": "eu-central-1", "AWS_REQUEST_PAYER": "requester"}
    assert store_options(said) == StoreOptions("http://127.0.0.1:9", "eu-central-1", requester_pays=True)
    assert store_options({"AWS_NO_SIGN_REQUEST": "YES"}) == StoreOptions(anonymous=True)
    assert store_options({"AZURE_STORAGE_ACCOUNT_NAME": "me"}) == StoreOptions(azure_account="me")


def test_a_name_below_which_no_zarr_can_lie_is_refused_before_anything_is_read() -> None:
    recipe, folder = find_recipe(Path("sandbox"))
    known = {"TERRAWEFT_SANDBOX_STAC": "http://127.0.0.1:9"}
    with pytest.raises(DatasetError, match="no Zarr can lie below a name"):
        request_of(recipe, folder, "gs://data/über", known)
    tars = recipe.model_copy(update={"write": recipe.write.model_copy(update={"kinds": ("webdataset",)})})
    assert request_of(tars, folder, "gs://data/über", known).storage.uri == "gs://data/über"


def test_unfinished_work_of_a_store_lies_on_this_machine(tmp_path: Path) -> None:
    assert work_folder(FolderStorage(tmp_path), {}) == tmp_path / "work"
    one, other = (ObjectStorage(f"s3://bucket/{name}", StoreOptions()) for name in "ab")
    places = {work_folder(storage, {"TERRAWEFT_WORK": str(tmp_path)}) for storage in (one, other)}
    assert len(places) == 2
    assert all(place.parent == tmp_path for place in places)
    assert work_folder(one, {"XDG_CACHE_HOME": "/x"}).is_relative_to("/x/terraweft/work")
