"""Where a language model's server may be, and how it lets one in; without a network, and light to import."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from schemas.errors import RecipeError
from schemas.recipe_catalogs import has_log_in

ADDRESS = re.compile(r"https?://[^\s/?#]+", re.IGNORECASE)
"""How an address of a server begins."""
BASIC = "Basic "
"""How a key begins that is a user and a password, as the ``Authorization`` header takes them."""


def require_address(base_url: str) -> None:
    """Stop where no server can be asked.

    Raises:
        RecipeError: the address is none, or holds a log-in: libraries log addresses, and only one of it and the key
            could be sent.
    """
    if not _is_address(base_url):
        raise RecipeError("the server's address is none", "captions.base_url", "name it in full: http://host/v1")
    if has_log_in(base_url):
        mend = "the variable of api_key_env takes it: Basic and user:password in base64"
        raise RecipeError("the server's address holds a user name or password", "captions.base_url", mend)


def _is_address(base_url: str) -> bool:
    try:
        plain = base_url.isprintable() and " " not in base_url  # a variable's last line break comes along easily
        return plain and ADDRESS.match(base_url) is not None and urlsplit(base_url).port != 0
    except ValueError:  # a port above 65535, half a bracket
        return False
