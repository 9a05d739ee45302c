"""The error tree of Terraweft.

TerraweftError                 anything this software raises on purpose
+-- UserError                  a person can mend it: one line, exit code 2 (1 where a source may answer later)
|   +-- RecipeError            a recipe that cannot be read or does not hold together
|   +-- MissingExtraError      an optional package is not installed
|   +-- DatasetError           a dataset that is absent, locked, or of an unknown format
+-- SourceError                reading from a catalog or an asset failed; carries url and attempts
|   +-- CatalogError           the catalog did not answer as a catalog
|   +-- AssetMissingError      404, or an item without the asset: permanent
|   +-- AccessDeniedError      401 or 403: sign again once, then permanent
|   +-- ThrottledError         429 or 503: wait, then again
|   +-- TransientSourceError   5xx, reset, stall: again
|   +-- DecodeError            the bytes came but are no raster: quarantine
|   +-- UnsupportedItemError   an item we refuse to read, and why
|       +-- LatticeUnknownError  it does not say where its pixels lie: the file's header does
+-- IntegrityError             bytes on disk are not what the manifest says
+-- TextBackendError           the language model's server failed; carries attempts
    +-- BudgetExceededError    the next call could cost more than what is left
"""

from __future__ import annotations


class TerraweftError(Exception):
    """Anything raised on purpose."""


class UserError(TerraweftError):
    """A mistake a person can mend.

    Args:
        what: what is wrong, in plain words.
        where: file, line or field.
        mend: what to do about it.
    """

    def __init__(self, what: str, where: str = "", mend: str = "") -> None:
        self.what, self.where, self.mend = what, where, mend
        super().__init__(self.line())

    def line(self) -> str:
        """The one line shown to the user: ``where: what (mend)``."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        text = f"{text} ({self.mend})" if self.mend else text
        return " ".join(text.split())

    @property
    def may_pass(self) -> bool:
        """Whether it tells of a source that may answer later, and of no mistake: of its cause."""
        return isinstance(self.__cause__, SourceError) and not self.__cause__.permanent

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str, str]]:
        return type(self), (self.what, self.where, self.mend)


class RecipeError(UserError):
    """A recipe that cannot be read or does not hold together."""


class MissingExtraError(UserError):
    """An optional package is missing."""

    @classmethod
    def of(cls, package: str, extra: str) -> MissingExtraError:
        """The error naming ``package`` and the extra that brings it."""
        return cls(f"{package} is missing", mend=f"pip install 'terraweft[{extra}]'")


class DatasetError(UserError):
    """A dataset that is absent, locked, or of an unknown format."""


class SourceError(TerraweftError):
    """Reading from a catalog or an asset failed.

    Args:
        what: what went wrong.
        url: unsigned URL of what was read.
        attempts: how often it was tried.
    """

    permanent = True

    def __init__(self, what: str, url: str = "", attempts: int = 1) -> None:
        self.what, self.url, self.attempts = what, url, attempts
        super().__init__(f"{what} [{url}] after {attempts} attempt(s)" if url else what)

    def __reduce__(self) -> tuple[type[SourceError], tuple[str, str, int]]:
        return type(self), (self.what, self.url, self.attempts)


class CatalogError(SourceError):
    """The catalog did not answer as a catalog."""


class AssetMissingError(SourceError):
    """404, or an item without the asset."""


class AccessDeniedError(SourceError):
    """401 or 403."""


class ThrottledError(SourceError):
    """429 or 503."""

    permanent = False
    retry_after_s: float | None = None
    """What the server asked to wait, if it said; does not survive pickling."""


class TransientSourceError(SourceError):
    """5xx, reset or stall."""

    permanent = False


class DecodeError(SourceError):
    """The bytes came, but they are no raster."""


class UnsupportedItemError(SourceError):
    """An item that is refused, with the reason."""


class LatticeUnknownError(UnsupportedItemError):
    """An item that does not say where its pixels lie; the header of its file does."""

    asset_key: str = ""
    """Which file; does not survive pickling."""


class IntegrityError(TerraweftError):
    """Bytes on disk are not what the manifest says."""


class TextBackendError(TerraweftError):
    """The language model's server failed."""

    def __init__(self, what: str, attempts: int = 1) -> None:
        self.what, self.attempts = what, attempts
        super().__init__(what)

    def __reduce__(self) -> tuple[type[TextBackendError], tuple[str, int]]:
        return type(self), (self.what, self.attempts)


class BudgetExceededError(TextBackendError):
    """The next call could cost more than what is left."""
