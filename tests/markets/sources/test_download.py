"""Retries: bounded in number and time, exponential, and only for what may pass."""

import time

import pytest
import stamina
from pydantic import ValidationError

from markets.sources.credentials import credentials, redact
from markets.sources.download import (
    DownloadError,
    RetryConfig,
    TransientError,
    plain,
    retrying,
)


class Flaky:
    """Fails some times, then answers."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "answer"


def quick(attempts: int) -> RetryConfig:
    return RetryConfig(attempts=attempts, initial_s=0.0, jitter_s=0.0, maximum_s=0.0)


def test_transient_errors_are_repeated() -> None:
    read = Flaky(3, TransientError("busy"))
    assert retrying(read, quick(4)) == "answer"
    assert read.calls == 4


def test_attempts_are_bounded() -> None:
    read = Flaky(99, TransientError("busy"))
    with pytest.raises(TransientError, match="busy"):
        retrying(read, quick(3))
    assert read.calls == 3


@pytest.mark.parametrize("error", [DownloadError("gone"), KeyError("bug"), OSError("disk")])
def test_other_errors_are_not_repeated(error: Exception) -> None:
    read = Flaky(1, error)
    with pytest.raises(type(error)):
        retrying(read, quick(5))
    assert read.calls == 1


def test_time_is_bounded() -> None:
    read = Flaky(99, TransientError("busy"))
    config = RetryConfig(attempts=20, initial_s=0.05, jitter_s=0.0, maximum_s=0.05, total_s=0.2)
    begin = time.monotonic()
    with pytest.raises(TransientError):
        retrying(read, config)
    assert time.monotonic() - begin < 2.0
    assert read.calls < 10


def test_waits_double_up_to_the_maximum() -> None:
    waits: list[float] = []
    stamina.instrumentation.set_on_retry_hooks([lambda details: waits.append(details.wait_for)])
    try:
        config = RetryConfig(attempts=5, initial_s=0.01, jitter_s=0.0, maximum_s=0.03)
        retrying(Flaky(4, TransientError("busy")), config)
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)
    assert waits == pytest.approx([0.01, 0.02, 0.03, 0.03])


def test_a_wait_that_the_server_asks_for_is_kept_and_bounded() -> None:
    waits: list[float] = []
    stamina.instrumentation.set_on_retry_hooks([lambda details: waits.append(details.wait_for)])
    try:
        config = RetryConfig(attempts=3, initial_s=0.0, jitter_s=0.0, maximum_s=0.05)
        retrying(Flaky(1, TransientError("busy", wait_s=0.02)), config)
        retrying(Flaky(1, TransientError("busy", wait_s=9999.0)), config)
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)
    assert waits == pytest.approx([0.02, 0.05])


@pytest.mark.parametrize(
    "fields", [{"attempts": 0}, {"maximum_s": -1}, {"total_s": 0}, {"tries": 3}]
)
def test_configuration_is_checked(fields: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        RetryConfig(**fields)  # type: ignore[arg-type]  # the point of the test


def test_credentials_come_from_named_variables() -> None:
    environ = {
        "PERENNIAL_KRAKEN_API_KEY": "k",
        "PERENNIAL_KRAKEN_SECRET": "",
        "KRAKEN_API_KEY": "z",
    }
    assert credentials("kraken", environ) == {"apiKey": "k"}
    assert credentials("binance", environ) == {}


def test_redaction() -> None:
    environ = {"MY_API_KEY": "abcdef-123", "MY_TOKEN": "abc", "HOME": "/home/someone"}
    text = "GET https://me:pw@host/x?key=abcdef-123 from /home/someone abc"
    assert redact(text, environ) == "GET https://***@host/x?key=*** from /home/someone abc"


def test_plain_messages_are_one_short_line() -> None:
    assert plain(ValueError("a\n  b\tc")) == "a b c"
    assert plain(ValueError()) == "ValueError"
    assert len(plain(ValueError("x" * 10_000))) == 500
