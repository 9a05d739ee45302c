"""Reading by GDAL itself: `gdal_reads` configures it, once it is known that an address leads where it may."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import rasterio

from schemas.scene import Opener
from sources.openers import gdal_settings, note_success, refusal_now
from sources.raster_limits import check_format


@contextmanager
def gdal_reads(opener: Opener, hrefs: Sequence[str]) -> Iterator[None]:
    """GDAL configured as `gdal_settings` says; that the block ends without an error is noted.

    GDAL follows redirects wherever they lead, and cannot be told not to. So the beginning of a file on a public server
    is first read by our own fetcher, which refuses a redirect into a private network.

    Raises:
        SourceError: an address leads where it must not, or to no TIFF and no JPEG 2000, or cannot be read.
    """
    for href in hrefs:
        if not refusal_now(href, allow_local=False):
            check_format(href, opener)
    with rasterio.Env(**gdal_settings(opener, hrefs)):
        yield
    note_success(hrefs)
