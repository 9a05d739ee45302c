"""The command `explain`: what it reads, what it prints, and how it ends."""

from __future__ import annotations

import gzip
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from schemas.errors import UserError
from terraweft.cli import main
from terraweft.endings import Visible
from terraweft.explain import MOST_BYTES, read_item
from tests.loopback import serving
from tests.unit.sources.test_explain import S2, item


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["explain", *arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def written(folder: Path, document: Any, name: str = "item.json") -> str:
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


def test_a_file_as_json_has_the_documented_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, item(S2, {"B02": {}, "SCL": {}}))
    code, out, err = run([path, "--json"], capsys)
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert list(told) == [
        "sensor", "platform", "datetime", "processing_baseline", "epsg", "cloud_cover", "assets", "mask", "licence",
        "verdict", "why",
    ]  # fmt: skip
    assert list(told["assets"]["B02"]) == [
        "common_name", "center_wavelength_nm", "gsd_m", "scale", "offset", "nodata", "unit",
    ]  # fmt: skip
    assert told["mask"] == {"asset": "SCL", "kind": "scl"}


def test_a_refusal_is_an_answer_and_not_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, item("MOD09A1.A2022153.h18v04", {"b": {}}, platform="terra"))
    code, out, _ = run([path, "--json"], capsys)
    assert (code, json.loads(out)["verdict"], json.loads(out)["sensor"]) == (0, "refuse", None)


def test_people_get_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run([written(tmp_path, item(S2, {"B02": {}, "SCL": {}}))], capsys)
    assert code == 0
    for words in ("sentinel-2-l2a", "EPSG:32632", "SCL, read as scl", "verdict   use", "492.3", "0.0001"):
        assert words in out


EVIL = "S2A\x1b]52;c;eA==\x07\x9b31m\r\x00\u202e\u2066\u200f\u2028\ud800"


def test_an_item_of_a_stranger_does_not_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, item(EVIL, {"B02": {}, f"SCL{EVIL}": {}}, platform=EVIL))
    missing = written(tmp_path, {"type": f"Collection{EVIL}", "id": EVIL, "properties": EVIL}, f"{EVIL[:5]}.json")
    said = [*run([path], capsys)[1:], *run([missing], capsys)[1:]]
    assert any("S2A\N{REPLACEMENT CHARACTER}]52" in text for text in said)
    assert not {character for text in said for character in text if character != "\n" and not character.isprintable()}


def test_a_log_does_not_steer_the_terminal() -> None:
    record = logging.LogRecord("sources", logging.WARNING, "", 0, "item %s: read", (EVIL,), None)
    text = Visible("%(levelname)s %(name)s: %(message)s").format(record)
    assert text.startswith("WARNING sources: item S2A\N{REPLACEMENT CHARACTER}]52")
    assert text.isprintable()


def test_a_log_shows_no_secret_of_an_address() -> None:
    said = 'HTTP Request: GET https://h/i.json?token=mine&page=2 "HTTP/1.1 200 OK"'
    text = Visible("%(message)s").format(logging.LogRecord("httpx", logging.INFO, "", 0, said, (), None))
    assert text == said.replace("mine", "<secret>")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "is no JSON"),
        ("[1]", "not a JSON object"),
        ({"type": "Collection", "id": "c"}, "is a STAC Collection, not an item"),
        ({"id": "x", "properties": {}}, "no datetime"),
        ({"id": "x"}, "is no STAC item: no properties"),
        ({"type": "FeatureCollection", "features": []}, "holds 0 items"),
        ({"features": "none"}, "holds 0 items"),
        ([{"id": "a"}, {"id": "b"}], "holds 2 items"),
    ],
)
def test_what_is_no_item_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], document: Any, words: str
) -> None:
    path = written(tmp_path, document)
    code, out, err = run([path, "--json"], capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


def test_an_id_is_found_in_a_file_of_items(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features = [
        item(S2, {"B02": {}}),
        item("S2A_MSIL1C_20220601T101559_N0400_R065_T32TMR_20220601T130000", {"B10": {}}),
    ]
    path = written(tmp_path, {"type": "FeatureCollection", "features": features})
    code, out, _ = run([S2, "--catalog", path, "--json"], capsys)
    assert (code, json.loads(out)["sensor"]) == (0, "sentinel-2-l2a")
    assert run(["nobody", "--catalog", path], capsys)[0] == 2
    code, _, err = run([path], capsys)
    assert code == 2
    assert "holds 2 items" in err


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda plain: b"\xef\xbb\xbf" + plain,
        lambda plain: plain.decode().encode("utf-16"),
        gzip.compress,
        lambda plain: b"[" + plain + b"]",
        lambda plain: b'{"features": [' + plain + b"]}",
        lambda plain: gzip.compress(b'{"type": "FeatureCollection", "features": [' + plain + b"]}"),
    ],
)
def test_an_item_is_read_however_its_file_is_packed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrapped: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "item.json"
    path.write_bytes(wrapped(json.dumps(item(S2, {"B02": {}})).encode()))
    code, out, _ = run([str(path), "--json"], capsys)
    assert (code, json.loads(out)["sensor"]) == (0, "sentinel-2-l2a")


@pytest.mark.parametrize(
    ("content", "words"),
    [(gzip.compress(b"{}")[:-12] + b"x" * 12, "cannot be"), (gzip.compress(b" " * (MOST_BYTES + 1)), "larger than")],
    ids=["broken", "endless"],
)
def test_a_packed_file_that_is_broken_or_grows_without_end_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, words: str
) -> None:
    path = tmp_path / "item.json.gz"
    path.write_bytes(content)
    code, _, err = run([str(path)], capsys)
    assert (code, err.count("\n")) == (2, 1)
    assert words in err


def answers(pages: dict[str, Any]) -> type[BaseHTTPRequestHandler]:
    """A server of documents by path; a text is the address that it leads on to, a number a status."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(urlsplit(self.path).path)
            page = page() if callable(page) else page
            status = page if isinstance(page, int) else 302 if isinstance(page, str) else 200
            self.send_response(404 if page is None else status)
            if isinstance(page, str):
                self.send_header("location", page)
            self.end_headers()
            self.wfile.write(json.dumps(page).encode())

        def log_message(self, *_: Any) -> None:
            pass

    return Answers


@pytest.fixture
def serve() -> Iterator[Callable[[dict[str, Any]], str]]:
    with ExitStack() as open_servers:

        def start(pages: dict[str, Any]) -> str:
            return open_servers.enter_context(serving(answers(pages)))

        yield start


def test_an_address_is_read_over_redirects(
    serve: Callable[[dict[str, Any]], str], capsys: pytest.CaptureFixture[str]
) -> None:
    root = serve({"/old": "/new", "/new": item(S2, {"B02": {}})})
    code, out, _ = run([f"{root}/old", "--json"], capsys)
    assert (code, json.loads(out)["verdict"]) == (0, "use")
    code, _, err = run([f"{root}/gone"], capsys)
    assert (code, "HTTP 404" in err) == (2, True)


def test_a_lone_error_of_a_catalog_is_asked_over(
    serve: Callable[[dict[str, Any]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every other command does. Where it goes on, that is no mistake of who asked."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    pages: dict[str, Any] = {"/a": item(S2, {"B02": {}}), "/ailing": 500, "/down": 500}
    root = serve(pages)
    assert read_item(f"{root}/a", None, None)[0]["id"] == S2
    mended = iter([500, pages["/a"]])
    monkeypatch.setitem(pages, "/ailing", lambda: next(mended))
    assert read_item(f"{root}/ailing", None, None)[0]["id"] == S2
    with pytest.raises(UserError, match="HTTP 500") as caught:
        read_item(f"{root}/down", None, None)
    assert caught.value.may_pass
    empty = serve({"/search": {"type": "FeatureCollection", "features": []}})
    with pytest.raises(UserError, match="no public catalog gave it") as caught:
        read_item(S2, None, None, (serve({"/search": 500}), empty))
    assert caught.value.may_pass


def test_an_id_alone_is_asked_of_the_catalogs_that_are_known(serve: Callable[[dict[str, Any]], str]) -> None:
    empty = serve({"/search": {"type": "FeatureCollection", "features": []}})
    full = serve({"/search": {"type": "FeatureCollection", "features": [item(S2, {"B02": {}})]}})
    document, address = read_item(S2, None, None, (serve({}), empty, full))
    assert document["id"] == S2
    assert address.startswith(full)
    with pytest.raises(UserError, match=r"no public catalog gave it \(127.0.0.1: HTTP 404; 127.0.0.1: holds no item"):
        read_item(S2, None, None, (serve({}), empty))
    with pytest.raises(UserError, match="no file and no http"):
        read_item("scene.json", None, None, (full,))
