"""Log lines of the HTTP libraries without secrets, whoever listens.

They tell every address that they ask, at INFO or DEBUG: signatures, those of a redirect's target too, would stand in
the log of a notebook or a service that imports Terraweft. The command line masks its own log besides.
"""

from __future__ import annotations

import logging

from shards.guard import masked

HTTP_LOGGERS = ("httpx", "httpcore.http11", "httpcore.http2", "httpx2", "httpcore2.http11", "httpcore2.http2",
                "urllib3.connectionpool")  # fmt: skip
"""Those that tell an address asked for, or an answer's headers; `openai` reads by httpx2 from its third version."""


class _Masked(logging.Filter):
    """Lets every line through, without its secrets."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = masked(record.getMessage()), ()
        return True


_MASKED = _Masked()


def mask_http_logs() -> None:
    """From now on the lines of `HTTP_LOGGERS` have no secrets; calling it again changes nothing."""
    for name in HTTP_LOGGERS:
        logging.getLogger(name).addFilter(_MASKED)
