from __future__ import annotations

from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"

TESTS = """
import pytest

@pytest.mark.realdata
def test_on_real_pixels(realdata):
    assert realdata.is_dir()

@pytest.mark.services("nginx")
def test_behind_a_server(nginx):
    assert nginx.exists()

def test_needs_nothing():
    assert True
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A small suite under the project's conftest, on a machine with neither the real data nor nginx."""
    monkeypatch.delenv("TERRAWEFT_REALDATA", raising=False)
    monkeypatch.delenv("TERRAWEFT_CI", raising=False)
    source = CONFTEST.read_text().replace('_program("nginx")', '_program("no-such-program")')
    pytester.makeconftest(source)
    pytester.makeini("[pytest]\nmarkers =\n    realdata: x\n    services(*names): x\n")
    pytester.makepyfile(TESTS)
    return pytester


def test_a_missing_service_is_skipped_and_named(suite: pytest.Pytester) -> None:
    result = suite.runpytest()
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(["*NOT RUN*", "1 test(s) without real data*", "1 test(s) without service nginx*"])


def test_a_missing_service_fails_in_ci(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRAWEFT_CI", "1")
    result = suite.runpytest()
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(["*a skip is a failure*"])


def test_present_data_is_used(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = suite.path / "pixels" / "catalog" / "catalog.json"
    catalog.parent.mkdir(parents=True)
    catalog.write_text("{}")
    monkeypatch.setenv("TERRAWEFT_REALDATA", str(suite.path / "pixels"))
    suite.runpytest().assert_outcomes(passed=2, skipped=1)


def test_an_unknown_service_names_the_known_ones(suite: pytest.Pytester) -> None:
    suite.makepyfile('import pytest\n@pytest.mark.services("nginks")\ndef test_typo(): pass\n')
    result = suite.runpytest()
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*unknown service 'nginks'; known: cc, chromium, namespaces, nginx, postgis*"])
