"""Who may come in where the setting `access` is `keys`: holders of an API key or a password."""

from cosyhost.access.holders import MONITOR, Holder, Holders, Role, identity
from cosyhost.access.secret import (
    is_key,
    new_key,
    new_password,
    of_key,
    of_password,
    opens,
    right,
)

__all__ = [
    "MONITOR",
    "Holder",
    "Holders",
    "Role",
    "identity",
    "is_key",
    "new_key",
    "new_password",
    "of_key",
    "of_password",
    "opens",
    "right",
]
