"""Secrets: read from the environment only, and kept out of everything that is written or shown.

An exchange's keys are read from ``PERENNIAL_<EXCHANGE>_API_KEY``, ``_SECRET`` and ``_PASSWORD``. A
configuration that carries something like a key is refused, without repeating its value, and
:func:`redact` removes the environment's secrets from any text that a library hands back.
"""

import os
import re
from collections.abc import Mapping

from pydantic_core import ArgsKwargs

__all__ = ["SecretInConfigError", "credentials", "redact", "refuse_secrets"]

_SECRET_NAME = re.compile(
    r"api_?key|secret|token|passw|passphrase|credential|private_?key|cookie", re.IGNORECASE
)
_SECRET_VARIABLE = re.compile(r"KEY|SECRET|TOKEN|PASSW|PASSPHRASE|CREDENTIAL|COOKIE", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_MINIMUM_LENGTH = 6  # a shorter value would blank out ordinary words
_PARTS = {"apiKey": "API_KEY", "secret": "SECRET", "password": "PASSWORD"}


class SecretInConfigError(RuntimeError):
    """A configuration carries a secret; the message names the field and never its value.

    It is deliberately no ``ValueError``: pydantic would wrap it and print the input beside it.
    """


def credentials(exchange: str, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the credentials that the environment holds for an exchange.

    Args:
        exchange: ccxt identifier, such as ``"kraken"``.
        environ: Environment to read; the process's own by default.

    Returns:
        Those of ``apiKey``, ``secret`` and ``password`` that are set and not empty.
    """
    environ = os.environ if environ is None else environ
    prefix = f"PERENNIAL_{exchange.upper()}"
    found = {part: environ.get(f"{prefix}_{suffix}", "") for part, suffix in _PARTS.items()}
    return {part: value for part, value in found.items() if value}


def redact(text: str, environ: Mapping[str, str] | None = None) -> str:
    """Replace secrets in a text by ``***``.

    Args:
        text: Message of a library, an address, a note.
        environ: Environment to read; the process's own by default.

    Returns:
        The text without user information in addresses and without the value of any variable whose
        name speaks of a key, a secret, a token or a password.
    """
    environ = os.environ if environ is None else environ
    text = _USERINFO.sub("***@", text)
    values = {
        value
        for name, value in environ.items()
        if _SECRET_VARIABLE.search(name) and len(value) >= _MINIMUM_LENGTH
    }
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, "***")
    return text


def refuse_secrets(data: object) -> object:
    """Refuse fields named like a secret and addresses that carry a user; a pydantic validator.

    Args:
        data: What the dataclass was given, before validation.

    Returns:
        The data, unchanged.

    Raises:
        SecretInConfigError: A field is named like a secret, or an address carries a user.
    """
    fields = (data.kwargs or {}) if isinstance(data, ArgsKwargs) else data
    if not isinstance(fields, Mapping):
        return data
    for name, value in fields.items():
        if _SECRET_NAME.search(str(name)):
            raise SecretInConfigError(
                f"{name}: secrets are never part of a configuration (it is written to the run's"
                " folder); set the environment variable PERENNIAL_<EXCHANGE>_API_KEY (_SECRET,"
                " _PASSWORD) instead"
            )
        if isinstance(value, str) and _USERINFO.search(value):
            raise SecretInConfigError(
                f"{name}: an address must not carry a user or password; expected scheme://host"
            )
    return data
