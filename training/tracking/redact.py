"""Keep secrets out of everything that a run writes down.

A *secret* is the value of an environment variable whose name looks like one (``KEY``, ``TOKEN``,
``SECRET``, ``PASSWORD``, ``CREDENTIAL``, ``AUTH`` ...), a configuration value under such a name,
and the ``user:password@`` or ``token@`` part of a URI. Configuration artefacts, tags, journals
and log records pass through here before they are written.
"""

import logging
import os
import re
import traceback
from collections.abc import Callable, Mapping

MASK = "***"
"""What a secret is replaced with."""

MIN_LENGTH = 6
"""Shorter values (``1``, ``true``, ``eu``) are no secrets; masking them would mangle every text."""

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW(?:OR)?D|CREDENTIAL", re.IGNORECASE)
_LIKELY_NAME = re.compile(
    r"PASSPHRASE|PWD|_PAT$|DSN|COOKIE"
    r"|(?<!ASK)(?<!BY)(?<!COM)PASS(?![A-Z])"  # neither SSH_ASKPASS, a program, nor PGPASSFILE
    r"|AUTH(?!OR(?!I[SZ]))",  # neither GIT_AUTHOR_NAME nor XAUTHORITY
    re.IGNORECASE,
)
# The shell's working directories, and what says where something lies.
_PLACE_NAME = re.compile(r"^(?:OLD)?PWD$|_(?:SOCK|FILE|PATH|DIR)$", re.IGNORECASE)
_SECRET_FIELD = re.compile(
    r"(?:^|[_.-])(?:api_?key|access_?key|secret(?:_?key)?|private_?key|key_id|tokens?|password|passwd"
    r"|pwd|passphrase|credentials?|secrets|auth|authorization)$"
    r"|(?:^|[_.-])(?:secrets|tokens|credentials)\.",  # a table of them
    re.IGNORECASE,
)
_USER_INFO = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)"
    # Up to the last @ of the authority; else a password with a bare slash, which is no port.
    r"(?:[^\s/?#'\"]+|[^\s/?#:'\"\[]*:(?!/|\d+\W)[^\s'\"]+)@"
)
_QUERY = re.compile(
    r"(?P<name>[?&](?:api_?key|access_?token|token|secret|password|signature)=)[^&\s'\"]+",
    re.IGNORECASE,
)
_HARMLESS = frozenset({"disabled", "enabled", "default", "production", "development", "required"})
_WHOLE_WORD_BELOW = 12


class Redactor:
    """Replaces the secrets that were in the environment when it was made.

    Args:
        environ: Variables to look at; the process's own by default.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        variables = os.environ if environ is None else environ
        values = {
            value.strip()
            for name, value in variables.items()
            if _is_secret_name(name)
            and len(value.strip()) >= MIN_LENGTH
            and value.strip().lower() not in _HARMLESS
        }
        # Longest first: a secret that contains another one is replaced as a whole.
        parts = [_pattern(value) for value in sorted(values, key=lambda v: (-len(v), v))]
        self._secrets = re.compile("|".join(parts)) if parts else None

    def text(self, text: str) -> str:
        """Return the text with every secret, URI password and token parameter masked."""
        if self._secrets is not None:
            text = self._secrets.sub(MASK, text)
        if "://" in text:
            text = _USER_INFO.sub(rf"\g<scheme>{MASK}@", text)
        if "=" in text:
            text = _QUERY.sub(rf"\g<name>{MASK}", text)
        return text

    def value(self, value: object, *, field: str = "") -> object:
        """Return plain data (mappings, sequences, scalars) with masked strings.

        Args:
            value: The data; left as it is.
            field: Name (or dotted path) under which the value stands. A non-empty string under a
                secret's name (``api_key``, ``password`` ...) is masked whatever it holds.
        """
        if isinstance(value, Mapping):
            return {
                self.text(key) if isinstance(key, str) else key: self.value(
                    item, field=f"{field}.{key}" if field else str(key)
                )
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(item, field=field) for item in value]
        if isinstance(value, str):
            return MASK if value and _SECRET_FIELD.search(field) else self.text(value)
        return value

    def strings(self, values: Mapping[str, str]) -> dict[str, str]:
        """Return a flat table of strings (tags, parameters) with masked values."""
        return {
            self.text(name): MASK if text and _SECRET_FIELD.search(name) else self.text(text)
            for name, text in values.items()
        }


def _is_secret_name(name: str) -> bool:
    """Whether an environment variable of this name holds a secret."""
    if _SECRET_NAME.search(name):
        return True
    return bool(_LIKELY_NAME.search(name)) and not _PLACE_NAME.search(name)


def _pattern(secret: str) -> str:
    """A regular expression for one secret; short ones only match as whole words."""
    pattern = re.escape(secret)
    if len(secret) >= _WHOLE_WORD_BELOW:
        return pattern
    return rf"(?<![A-Za-z0-9_]){pattern}(?![A-Za-z0-9_])"


def redact_uri(uri: str) -> str:
    """Return a URI without its password, fit for a log line."""
    return Redactor({}).text(uri)


def install_log_redaction(redactor: Redactor | None = None) -> None:
    """Mask secrets in every log record of the process, message and traceback, from now on.

    A record factory is used rather than a filter: filters sit on single handlers, and a handler
    that a library adds later would be missed. Calling it again replaces the former redactor.
    """
    masks = Redactor() if redactor is None else redactor
    current = logging.getLogRecordFactory()
    make = current.inner if isinstance(current, _RedactingFactory) else current
    logging.setLogRecordFactory(_RedactingFactory(make, masks))


class _RedactingFactory:
    """A log record factory whose records hold no secret."""

    def __init__(self, inner: Callable[..., logging.LogRecord], redactor: Redactor) -> None:
        self.inner = inner
        self._redactor = redactor

    def __call__(self, *args: object, **kwargs: object) -> logging.LogRecord:
        record = self.inner(*args, **kwargs)
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            return record  # a faulty call; logging itself reports it
        masked = self._redactor.text(message)
        if masked != message:
            record.msg, record.args = masked, None
        if record.exc_info and record.exc_info[0] is not None:
            trace = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            if self._redactor.text(trace) != trace:
                record.exc_text = self._redactor.text(trace)  # formatters print it when it is set
        return record
