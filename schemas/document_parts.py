"""What readers rely on in the free parts of ``dataset.json``: what else stands there is told when it is read.

Each part may hold more than is named here. What is named has its type, so that no command ends in a traceback.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

Count = Annotated[int, Field(ge=0, lt=1 << 62)]
"""Of chips, files or bytes."""
Code = Annotated[int, Field(ge=0, le=65_535)]
"""Value of a class in a raster."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Counts(_Part):
    planned: Count
    kept: Count
    rejected: dict[str, Count] = {}
    failed: dict[str, Count] = {}


class _Splits(_Part):
    counts: dict[str, Count]
    buckets: dict[str, Annotated[int, Field(ge=1, lt=1 << 62)]] = {}
    leakage: dict[str, Any] | None = None


class _Texts(_Part):
    kinds: dict[str, Count] = {}


class _Table(_Part):
    bytes: Count
    sha256: str
    rows: Count = 0


class _LabelShape(_Part):
    dtype: str
    shape_yx: Annotated[list[Count], Field(min_length=2, max_length=2)]


class _Zarr(_Part):
    path: str
    tag: str
    groups: list[str]
    digest: str
    shard_chips: Annotated[int, Field(ge=1, lt=1 << 31)]
    codec: str = ""
    labels: dict[str, _LabelShape] = {}
    signatures: dict[str, str] = {}


class _Diff(_Part):
    added: Count = 0
    changed: Count = 0
    unchanged: Count = 0
    removed: Count = 0
    touched: dict[str, Count] = {}


class _Estimates(_Part):
    path: str
    sha256: str
    version: str
    chips: Count
    touched_since: Count
    bands: dict[str, str] = {}
    parts: dict[str, str] = {}
    datasets: dict[str, str] = {}


class _Class(_Part):
    name: str
    code: Code = 0
    colour: str = ""
    noun: str = ""


class _Legend(_Part):
    name: str = ""
    title: str = ""
    nodata: list[Code] = []
    classes: list[_Class] = []


class _FusedLicence(_Part):
    model_config = ConfigDict(extra="forbid", strict=True)

    licence: str
    attribution: str
    share_alike: bool
    non_commercial: bool


class _Fusion(_Part):
    licences: list[_FusedLicence] = []
    statistics: dict[str, dict[str, dict[str, Any]]] = {}
    disagreement: list[dict[str, Any]] = []
    priors: dict[str, dict[str, float]] = {}
    confusion: dict[str, Any] = {}


class _Modality(_Part):
    select: dict[str, Any] | None = None


class _Time(_Part):
    end: Annotated[str, AfterValidator(date.fromisoformat)] | None = None


class _Labels(_Part):
    sources: dict[str, dict[str, Any]] | None = None
    targets: dict[str, dict[str, Any]] | None = None


class _Recipe(_Part):
    description: str = ""
    grid: dict[str, Any] = {}
    time: _Time | None = None
    modalities: dict[str, _Modality | None] = {}
    labels: _Labels | None = None
    publish: dict[str, Any] | None = None
    gates: dict[str, Any] | None = None


class _Run(_Part):
    texts: dict[str, Any] | None = None


def _like(shape: Any, *, or_empty: bool = False) -> AfterValidator:
    """The value itself, where it has the named parts."""
    check: Callable[[Any], Any] = TypeAdapter(shape).validate_python

    def checked(value: dict[str, Any]) -> dict[str, Any]:
        if value or not or_empty:
            check(value)
        return value

    return AfterValidator(checked)


def _moment(text: str) -> str:
    datetime.fromisoformat(text)
    return text


Moment = Annotated[str, AfterValidator(_moment)]
"""ISO time."""
Counts = Annotated[dict[str, Any], _like(_Counts)]
Splits = Annotated[dict[str, Any], _like(_Splits)]
Texts = Annotated[dict[str, Any], _like(_Texts)]
Tables = Annotated[dict[str, dict[str, Any]], _like(dict[str, _Table])]
Zarr = Annotated[dict[str, Any], _like(_Zarr, or_empty=True)]
Diff = Annotated[dict[str, Any], _like(_Diff)]
Estimates = Annotated[dict[str, Any], _like(_Estimates, or_empty=True)]
LegendPart = Annotated[Any, _like(_Legend)]
Fusion = Annotated[dict[str, Any], _like(_Fusion)]
RecipePart = Annotated[dict[str, Any], _like(_Recipe)]
Run = Annotated[dict[str, Any], _like(_Run)]
