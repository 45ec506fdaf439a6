"""Addresses of object stores, where local files are wanted."""

import re

from pinfm.embeddings.errors import UserError


def require_local(path: object) -> None:
    """Refuses an address, such as `s3://bucket/log`.

    Args:
        path: a text, or a path, which has lost a slash of the address.

    Raises:
        UserError: it is one.
    """
    found = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", str(path), re.DOTALL)
    if found:
        raise UserError(
            f"{found[1]}://{found[2]} is no local path; only local files and folders are read and written: copy it."
        )
