"""What models, boards, aliases and deployments may be called."""

from __future__ import annotations

import re

from tinydeploy.errors import UsageError

_MAX_LENGTH = 100
"""A name becomes a folder, and part of the names of aliases, tags and files (255 characters)."""


def require_name(kind: str, name: str) -> str:
    """`name`, if it is one: ASCII letters, digits, underscores and dashes, no dash at its front.

    A name with a dash in front would be an option on the command line. `kind` says what is called
    so. Raises UsageError.
    """
    if not re.fullmatch(r"\w[\w-]*", name, flags=re.ASCII):
        raise UsageError(
            f"{kind} {name!r} is not a name",
            hint="use letters (a to z), digits, underscores and dashes, no dash at the front",
        )
    if len(name) > _MAX_LENGTH:
        raise UsageError(
            f"{kind} {name[:20]!r}... has {len(name)} characters",
            hint=f"a name has at most {_MAX_LENGTH}",
        )
    return name


def as_name(text: str) -> str:
    """A name made of any text, such as that of a file: "my net (1)" becomes "my-net-1"."""
    return re.sub(r"[^\w-]+", "-", text, flags=re.ASCII).strip("-")[:_MAX_LENGTH] or "model"
