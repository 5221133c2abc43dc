"""No secret reaches an artefact, a tag, a journal or a log."""

import io
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.tracking.redact import MASK, Redactor, install_log_redaction, redact_uri

ENVIRONMENT = {
    "EXCHANGE_API_KEY": "ak-93jf02kd",
    "DB_PASSWORD": "hunter2hunter2",
    "GITHUB_TOKEN": "ghp_abcdef",
    "AWS_SECRET_ACCESS": "wJalrXUtnFEMI/K7MDENG",
    "SERVICE_CREDENTIALS": "cred:value!",
    "TOKENIZERS_PARALLELISM": "false",
    "HOME": "/home/user",
}


@pytest.mark.parametrize(
    "secret",
    ["ak-93jf02kd", "hunter2hunter2", "ghp_abcdef", "wJalrXUtnFEMI/K7MDENG", "cred:value!"],
)
def test_secrets_of_the_environment_are_masked(secret: str) -> None:
    masked = Redactor(ENVIRONMENT).text(f"key={secret}, and '{secret}'")
    assert secret not in masked
    assert masked.count(MASK) == 2


def test_harmless_values_stay() -> None:
    text = "false /home/user 0.1 us-east"
    assert Redactor(ENVIRONMENT | {"KEY_REGION": "us", "KEYMAP": "de"}).text(text) == text


@pytest.mark.parametrize(
    "name",
    [
        "SMTP_PASS",
        "DBPASS",
        "MYSQL_PWD",
        "HTTP_AUTH",
        "PROXY_AUTHORIZATION",
        "GITHUB_PAT",
        "SSH_PASSPHRASE",
        "SENTRY_DSN",
        "SESSION_COOKIE",
        "KEY_FILE",
        "smtp_pass",
    ],
)
def test_other_names_of_secrets_are_known(name: str) -> None:
    assert Redactor({name: "/s3cret-value"}).text("a /s3cret-value b") == f"a {MASK} b"


@pytest.mark.parametrize(
    "name",
    [
        "PWD",
        "OLDPWD",
        "SSH_AUTH_SOCK",
        "XAUTHORITY",
        "SSH_ASKPASS",
        "PGPASSFILE",
        "GIT_AUTHOR_NAME",
        "HTTP_COOKIE_FILE",
        "PATH",
        "PATTERN",
        "COMPASS_HOME",
        "BYPASS_HOSTS",
    ],
)
def test_places_and_people_are_no_secrets(name: str) -> None:
    assert Redactor({name: "/home/user/work"}).text("in /home/user/work") == "in /home/user/work"


def test_short_secrets_match_whole_words_only() -> None:
    redactor = Redactor({"A_TOKEN": "reward"})
    assert redactor.text("rewards reward") == f"rewards {MASK}"


def test_longer_secret_wins_over_one_that_it_contains() -> None:
    redactor = Redactor({"A_KEY": "abcdefghijkl", "B_KEY": "abcdefghijklmnop"})
    assert redactor.text("abcdefghijklmnop") == MASK


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("postgresql+psycopg2://me:pw@db:5432/x", "postgresql+psycopg2://***@db:5432/x"),
        ("https://user:p%40ss@host/path?a=1", "https://***@host/path?a=1"),
        ("https://host/data?api_key=12345&x=2", "https://host/data?api_key=***&x=2"),
        ("postgresql://u:p@ss@host/x", "postgresql://***@host/x"),
        ("postgresql://u:p/s?s@host/x", "postgresql://***@host/x"),
        ("https://TOKEN@host/a@b", "https://***@host/a@b"),
        ("'https://TOKEN@host', a@b", "'https://***@host', a@b"),
        ("https://host?mail=a@b", "https://host?mail=a@b"),
        ("http://localhost:5000/a@b", "http://localhost:5000/a@b"),
        ("http://[::1]:5000/a@b", "http://[::1]:5000/a@b"),
        ("file:///C:/a@b", "file:///C:/a@b"),
        ("https://***@host", "https://***@host"),
        ("http://localhost:5000", "http://localhost:5000"),
        ("sqlite:////tmp/a@b.db", "sqlite:////tmp/a@b.db"),
    ],
)
def test_uris_lose_their_password(uri: str, expected: str) -> None:
    assert redact_uri(uri) == expected


def test_nested_data_is_masked_by_value_and_by_name() -> None:
    config = {
        "market": {"source": {"api_key": "x1", "path": "/data", "uri": "s3://a:b@c/d"}},
        "list": ["ghp_abcdef", 3, None, 0.5, True],
        "ghp_abcdef": 1,
        "password": "",
    }
    assert Redactor(ENVIRONMENT).value(config) == {
        "market": {"source": {"api_key": MASK, "path": "/data", "uri": f"s3://{MASK}@c/d"}},
        "list": [MASK, 3, None, 0.5, True],
        MASK: 1,
        "password": "",
    }


def test_other_fields_of_secrets_are_known() -> None:
    names = ["authorization", "auth", "pwd", "db_passphrase", "secrets", "tokens"]
    fields = dict.fromkeys(names, "x")
    assert Redactor({}).value(fields) == dict.fromkeys(names, MASK)
    assert Redactor({}).strings(fields) == dict.fromkeys(names, MASK)
    nested = {"a": {"secrets": {"exchange": "x"}}, "author": "me", "max_tokens": 8}
    assert Redactor({}).value(nested) == nested | {"a": {"secrets": {"exchange": MASK}}}
    assert Redactor({}).strings({"a.secrets.exchange": "x"}) == {"a.secrets.exchange": MASK}


def test_flat_tables_are_masked_by_name() -> None:
    table = {"data.token": "t", "agent.key": "value", "sort_keys": "a"}
    expected = {"data.token": MASK, "agent.key": "value", "sort_keys": "a"}
    assert Redactor({}).strings(table) == expected


@given(st.text(alphabet=st.characters(blacklist_characters=":/?&="), max_size=80))
def test_text_without_secrets_is_unchanged(text: str) -> None:
    assert Redactor({}).text(text) == text


@pytest.fixture
def record_factory() -> Iterator[None]:
    before = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(before)


@pytest.mark.usefixtures("record_factory")
def test_log_messages_and_tracebacks_are_masked() -> None:
    install_log_redaction(Redactor({"OLD_KEY": "former-secret"}))
    install_log_redaction(Redactor(ENVIRONMENT))
    stream = io.StringIO()
    logger = logging.getLogger("test_redact")
    logger.addHandler(logging.StreamHandler(stream))
    logger.warning("store %s with %s", "http://a:b@c", "hunter2hunter2")
    try:
        int("ghp_abcdef")
    except ValueError:
        logger.exception("failed")
    logger.warning("plain %d", 3)
    logger.warning("%s", "former-secret")
    text = stream.getvalue()
    assert "hunter2" not in text
    assert "a:b" not in text
    assert "ghp_abcdef" not in text
    assert f"store http://{MASK}@c with {MASK}" in text
    assert f"invalid literal for int() with base 10: '{MASK}'" in text
    assert "plain 3" in text
    assert "former-secret" in text, "a second installation replaces the first"
