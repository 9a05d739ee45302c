"""Secrets reach the hosts they are for, are made anew when they run out, and go nowhere else."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import rasterio
from pydantic import ValidationError

from schemas.errors import AccessDeniedError, AssetMissingError, TransientSourceError, UnsupportedItemError, UserError
from schemas.recipe import Credential
from sources.credentials import (
    CredentialedOpener,
    Login,
    Reference,
    _signer_of,
    billed_by,
    covers,
    is_host,
    make_opener,
    require_credentials,
)
from sources.fetch import fetch_range
from sources.limits import HostLimits
from sources.openers import PlainOpener, gdal_settings, unsigned
from sources.signing_login import LoginSigner
from sources.signing_sas import SasSigner
from tests.loopback import serving
from tests.unit.chips.test_inputs import recipe
from tests.unit.sources.gates import CONTENT, PASSWORD, USER, Gates, TestVault, gates, port_of

VAULT = TestVault(
    variables=(("TOKEN", "canary-token-1"), ("USER", USER), ("PASSWORD", PASSWORD)),
    logins=(("localhost", Login(USER, PASSWORD)), ("127.0.0.1", Login(USER, PASSWORD))),
    profiles=(("mine", ("AKIDEXAMPLE", "canary-secret", "")),),
)


@pytest.fixture
def hosts() -> Iterator[Gates]:
    _signer_of.cache_clear()  # a cookie knows its host and not its port, and every test has the same host
    with gates() as state:
        yield state


class Clock:
    def __init__(self, state: Gates) -> None:
        self.time = state.now.timestamp()

    def __call__(self) -> float:
        return self.time


def opener_of(credential: Credential, vault: Any = VAULT, limits: HostLimits | None = None) -> CredentialedOpener:
    return CredentialedOpener(True, [("c", credential)], vault, limits or HostLimits({}, None))


def read(opener: Any, href: str) -> bytes:
    return fetch_range(href, opener, 16, 32).data


def test_a_bearer_token_goes_to_its_hosts_alone(hosts: Gates) -> None:
    hosts.given = 1
    opener = opener_of(Credential(kind="bearer", env=("TOKEN",), hosts=("127.0.0.1",)))
    assert read(opener, f"{hosts.files}/bearer/a.tif") == CONTENT[16:48]
    assert read(opener, f"{hosts.login}/open/a.tif") == CONTENT[16:48]
    assert [seen.authorization for seen in hosts.at("127.0.0.1")] == ["Bearer canary-token-1"]
    assert [seen.authorization for seen in hosts.at("localhost")] == [""]


def test_a_redirect_to_another_host_carries_no_header(hosts: Gates) -> None:
    hosts.given = 1
    opener = opener_of(Credential(kind="bearer", env="TOKEN", hosts="127.0.0.1"))
    assert read(opener, f"{hosts.files}/moved/a.tif") == CONTENT[16:48]
    assert [seen.authorization for seen in hosts.at("localhost")] == [""]


def test_gdal_sends_the_header_and_not_over_a_redirect(hosts: Gates) -> None:
    hosts.given = 1
    opener = opener_of(Credential(kind="bearer", env="TOKEN", hosts="127.0.0.1"))
    for path in ("bearer/gdal.tif", "moved/gdal.tif"):
        href = f"{hosts.files}/{path}"
        with rasterio.Env(**gdal_settings(opener, [href])), pytest.raises(rasterio.errors.RasterioIOError):
            rasterio.open(href, driver="GTiff")  # it is no raster; what was asked is what counts
    assert {seen.authorization for seen in hosts.at("127.0.0.1")} == {"Bearer canary-token-1"}
    assert {seen.authorization for seen in hosts.at("localhost")} == {""}


def test_gdal_reads_no_two_log_ins_at_once(hosts: Gates) -> None:
    opener = opener_of(Credential(kind="bearer", env="TOKEN", hosts="127.0.0.1"))
    with pytest.raises(UnsupportedItemError, match="different log-ins"):
        gdal_settings(opener, [f"{hosts.files}/a.tif", f"{hosts.login}/a.tif"])


@pytest.mark.parametrize("client_id", ["public", None])
def test_an_oauth_token_is_fetched_once_and_again_before_it_runs_out(hosts: Gates, client_id: str | None) -> None:
    credential = Credential(
        kind="oauth", env=("USER", "PASSWORD"), token_url=f"{hosts.login}/oauth", client_id=client_id, hosts="127.0.0.1"
    )
    opener = opener_of(credential)
    for _ in range(3):
        assert read(opener, f"{hosts.files}/bearer/a.tif") == CONTENT[16:48]
    assert hosts.given == 1
    hosts.given += 1  # somebody else's log-in made ours worthless: refused once, then anew
    assert read(opener, f"{hosts.files}/bearer/a.tif") == CONTENT[16:48]
    expected = ["password", "refresh_token", "password"] if client_id else ["client_credentials"] * 2
    assert hosts.grants == expected


def test_a_wrong_password_is_a_refusal_without_the_password(hosts: Gates) -> None:
    vault = TestVault(variables=(("USER", USER), ("PASSWORD", "canary-wrong")))
    credential = Credential(kind="oauth", env=("USER", "PASSWORD"), token_url=f"{hosts.login}/oauth", hosts="127.0.0.1")
    with pytest.raises(AccessDeniedError, match=r"credentials\.c: the token endpoint refused it, HTTP 401") as caught:
        read(opener_of(credential, vault), f"{hosts.files}/bearer/a.tif")
    assert "canary" not in repr(caught.value)


def test_a_container_is_signed_once_and_again_before_the_signature_runs_out(hosts: Gates) -> None:
    clock = Clock(hosts)
    credential = Credential(kind="sas", token_url=f"{hosts.login}/token", hosts=("127.0.0.1",))
    signer = SasSigner(Reference("c", credential, VAULT), PlainOpener(), clock)
    href = f"{hosts.files}/blob/a.tif"
    signed = signer.resolve(href)
    assert unsigned(signed) == href
    assert parse_qs(urlsplit(signed).query)["sig"] == ["canary-token-1"]
    clock.time += 3600 - 61
    assert signer.resolve(f"{hosts.files}/blob/b.tif").endswith("canary-token-1")
    clock.time += 2
    assert signer.resolve(href).endswith("canary-token-2")
    assert signer.resolve(f"{hosts.files}/public/a.tif") == f"{hosts.files}/public/a.tif"
    assert [seen.path for seen in hosts.at("localhost")] == ["/token/127/blob", "/token/127/blob", "/token/127/public"]


def test_a_signature_that_is_refused_is_made_anew_once(hosts: Gates) -> None:
    opener = opener_of(Credential(kind="sas", token_url=f"{hosts.login}/token", hosts="127.0.0.1"))
    href = f"{hosts.files}/blob/a.tif"
    assert read(opener, href) == CONTENT[16:48]
    hosts.given += 1
    assert read(opener, href) == CONTENT[16:48]
    hosts.revoked = True
    with pytest.raises(AccessDeniedError) as caught:
        read(opener, href)
    assert caught.value.url == href
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("kind", ["earthdata", "dlr"])
@pytest.mark.parametrize("signed_elsewhere", [False, True])
def test_a_log_in_is_made_once_for_many_files(hosts: Gates, kind: Any, signed_elsewhere: bool) -> None:
    hosts.signed_elsewhere = signed_elsewhere
    credential = Credential(kind=kind, netrc="localhost", login_host="localhost", hosts="127.0.0.1")
    opener = opener_of(credential)
    for name in ("a", "b", "a"):
        assert read(opener, f"{hosts.files}/data/{name}.tif") == CONTENT[16:48]
    assert hosts.given == 1
    assert {seen.authorization for seen in hosts.at("127.0.0.1")} == {""}
    authorized = [seen.path.split("?")[0] for seen in hosts.at("localhost") if seen.authorization]
    assert "/authorize" in authorized
    assert not any(seen.cookie for seen in hosts.at("localhost"))


def test_a_session_that_ended_is_begun_again(hosts: Gates) -> None:
    opener = opener_of(Credential(kind="dlr", netrc="localhost", login_host="localhost", hosts="127.0.0.1"))
    href = f"{hosts.files}/data/a.tif"
    assert read(opener, href) == CONTENT[16:48]
    signer = LoginSigner(
        Reference("c", Credential(kind="dlr", login_host="localhost"), VAULT), PlainOpener(), Clock(hosts)
    )
    assert signer.resolve(href) == href
    signer.refresh(href)
    assert signer.headers(href)["Cookie"].startswith("session=canary-cookie-")
    assert hosts.given == 3


def test_a_page_in_place_of_the_file_is_a_refusal(hosts: Gates) -> None:
    opener = opener_of(Credential(kind="earthdata", netrc="localhost", login_host="localhost", hosts="127.0.0.1"))
    with pytest.raises(AccessDeniedError, match="accept the provider's terms"):
        read(opener, f"{hosts.files}/page/a.tif")


def test_a_wrong_log_in_names_the_host_and_no_secret(hosts: Gates) -> None:
    vault = TestVault(logins=(("localhost", Login("ada", "canary-wrong")),))
    opener = opener_of(Credential(kind="dlr", netrc="localhost", login_host="localhost", hosts="127.0.0.1"), vault)
    with pytest.raises(AccessDeniedError, match=r"localhost refused the log-in, HTTP 401") as caught:
        read(opener, f"{hosts.files}/data/a.tif")
    assert "canary" not in repr(caught.value)


def test_limits_hold_for_reads(hosts: Gates, tmp_path: Path) -> None:
    hosts.given = 1
    limits = HostLimits({}, tmp_path)
    opener = opener_of(Credential(kind="bearer", env="TOKEN", hosts="127.0.0.1"), limits=limits)
    held: list[str] = []
    limits.slot = lambda host: (held.append(host), HostLimits({}, None).slot(host))[1]  # type: ignore[method-assign]
    read(opener, f"{hosts.files}/bearer/a.tif")
    assert held == [port_of(hosts.files)]


def test_an_opener_pickles_without_any_value(hosts: Gates) -> None:
    hosts.given = 1
    opener = opener_of(Credential(kind="oauth", env=("USER", "PASSWORD"), client_id="public",
                                  token_url=f"{hosts.login}/oauth", hosts="127.0.0.1"), MachineLike())  # fmt: skip
    assert read(opener, f"{hosts.files}/bearer/a.tif") == CONTENT[16:48]
    data = pickle.dumps(opener)
    assert b"canary" not in data
    assert read(pickle.loads(data), f"{hosts.files}/bearer/a.tif") == CONTENT[16:48]
    assert hosts.grants == ["password"]


class MachineLike:
    """A vault that holds nothing: every process asks its own machine."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MachineLike)

    def __hash__(self) -> int:
        return 7

    def variable(self, name: str) -> str:
        return {"USER": USER, "PASSWORD": PASSWORD}[name]

    def login(self, machine: str) -> Login:
        raise UserError("none")

    def profile(self, name: str) -> tuple[str, ...]:
        raise UserError("none")


def test_a_secret_that_a_worker_lacks_fails_that_read_by_name(hosts: Gates) -> None:
    opener = opener_of(Credential(kind="bearer", netrc="elsewhere", hosts="127.0.0.1"), MachineLike())
    with pytest.raises(AccessDeniedError, match=r"no secret on this machine: credentials\.c: none"):
        read(opener, f"{hosts.files}/bearer/a.tif")


def test_a_token_endpoint_that_is_away_is_transient() -> None:
    credential = Credential(kind="sas", token_url="http://127.0.0.1:9/token", hosts="127.0.0.1")
    with pytest.raises(TransientSourceError, match="no signature"):
        opener_of(credential).resolve("http://127.0.0.1:8/blob/a.tif")


@pytest.mark.parametrize(
    "credential",
    [
        Credential(kind="bearer", env="TOKEN", hosts="data.example.org"),
        Credential(kind="basic", env=("USER", "PASSWORD"), hosts="data.example.org"),
    ],
    ids=["bearer", "basic"],
)
def test_a_secret_does_not_travel_in_clear(credential: Credential, hosts: Gates) -> None:
    """Servers behind a proxy are known to name themselves over http in their links."""
    opener = opener_of(credential)
    assert opener.headers("http://data.example.org/search?page=2") == {}
    assert "Authorization" in opener.headers("https://data.example.org/search?page=2")


@pytest.mark.parametrize("kind", ["earthdata", "dlr"])
def test_a_log_in_does_not_travel_in_clear(kind: Any) -> None:
    for variables in (("TOKEN",), ("USER", "PASSWORD")):
        credential = Credential(kind=kind, env=variables, login_host="login.example.org", hosts="*.example.org")
        signer = LoginSigner(Reference("c", credential, VAULT), PlainOpener(), lambda: 0.0)
        assert "Authorization" in signer.shown_to("https://login.example.org/authorize")
        assert signer.shown_to("http://login.example.org/authorize") == {}


def test_hosts_are_matched_whole() -> None:
    assert not is_host("https://example.org.evil.net/a", "*.example.org")
    assert not is_host("https://example.org@evil.net/a", "example.org")
    assert not is_host("https://evil.net/example.org", "example.org")
    assert is_host("https://a.example.org:8443/a", "*.example.org")
    landsat = Credential(kind="s3", profile="mine", hosts="usgs-landsat", requester_pays=True)
    assert covers(landsat, "s3://usgs-landsat/a.tif")
    assert covers(landsat, "https://usgs-landsat.s3.us-west-2.amazonaws.com/a.tif")
    assert not covers(landsat, "s3://sentinel-s2-l2a/a.tif")
    assert not covers(landsat, "https://usgs-landsat.s3.us-west-2.amazonaws.com.evil.net/a.tif")
    two = Credential(kind="bearer", env="TOKEN", hosts=("a.example.org", "b.example.org"))
    assert [covers(two, f"https://{name}.example.org/x") for name in "abc"] == [True, True, False]


def test_an_opener_has_the_credentials_and_the_leave_that_catalogs_name() -> None:
    public: dict[str, Any] = {"kind": "stac-api", "href": "https://stac.example.org"}
    asked = recipe(
        catalogs={"c": public, "mine": {**public, "allow_local": True, "credentials": ["used"]}},
        credentials={
            "used": {"kind": "s3", "profile": "mine", "hosts": ["paid"], "requester_pays": True},
            "spare": {"kind": "s3", "profile": "absent", "hosts": ["*"], "requester_pays": True},
        },
    )
    opener = make_opener(asked, VAULT, HostLimits({}, None))
    assert opener.allow_local, "one of its catalogs may"
    assert [name for name, _ in opener.credentials] == ["used"]
    require_credentials(asked, VAULT)
    assert billed_by(asked, ["s3://free/a.tif"]) == []
    assert billed_by(asked, ["s3://free/a.tif", "s3://paid/a.tif"]) == ["used"]
    closed = asked.model_copy(update={"catalogs": {"c": asked.catalogs["c"]}})
    assert not make_opener(closed, VAULT, HostLimits({}, None)).allow_local


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "bearer", "env": "a b", "hosts": "h.org"}, "name of an environment variable"),
        ({"kind": "bearer", "env": "T"}, "needs hosts"),
        ({"kind": "bearer", "env": "T", "hosts": "*"}, "may not be"),
        ({"kind": "bearer", "hosts": "h.org"}, "needs env or netrc"),
        ({"kind": "bearer", "env": ["A", "B"], "hosts": "h.org"}, "names 1 variables"),
        ({"kind": "basic", "env": "A", "hosts": "h.org"}, "names 2 variables"),
        ({"kind": "basic", "env": ["A", "B"], "netrc": "h.org", "hosts": "h.org"}, "name one place"),
        ({"kind": "oauth", "netrc": "h.org", "hosts": "h.org"}, "needs token_url"),
        ({"kind": "bearer", "profile": "p", "hosts": "h.org"}, "for kind s3"),
        ({"kind": "sas", "token_url": "https://u:p@h.org/t"}, "without user name"),
        ({"kind": "basic", "netrc": "HTTP://x", "hosts": "h.org"}, "is no host"),
    ],
)
def test_nonsense_is_refused_in_one_line(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Credential.model_validate(fields)


def test_content_is_not_all_alike() -> None:
    assert np.unique(np.frombuffer(CONTENT[16:48], np.uint8)).size == 32


def test_an_address_that_is_read_in_two_ways_is_shown_no_token(hosts: Gates) -> None:
    opener = opener_of(Credential(kind="bearer", env=("TOKEN",), hosts=("files.example.org",)))
    with pytest.raises(UnsupportedItemError, match="no address"):
        fetch_range(f"{hosts.files}\\@files.example.org/open/a.tif", opener, 0, 16)
    assert hosts.seen == []


def test_a_redirect_to_another_port_carries_no_header(hosts: Gates) -> None:
    shown: list[str | None] = []

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers["Authorization"])
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Other) as other:

        class First(Other):
            def do_GET(self) -> None:
                shown.append(self.headers["Authorization"])
                self.send_response(302)
                self.send_header("Location", f"{other}/a.tif")
                self.send_header("Content-Length", "0")
                self.end_headers()

        with serving(First) as first:
            opener = opener_of(Credential(kind="bearer", env=("TOKEN",), hosts=(port_of(first),)))
            with pytest.raises(AssetMissingError):
                fetch_range(f"{first}/a.tif", opener, 0, 16)
    assert shown == ["Bearer canary-token-1", None]
