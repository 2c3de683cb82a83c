"""Goal: keys do not show themselves, and go nowhere but to an address that the user wrote down."""

from __future__ import annotations

import pytest

from bydawn.errors import ConfigError
from bydawn.transports.account import Account, Secret


def test_a_secret_hides_in_every_text():
    account = Account(provider="openai", base_url="https://x.example/v1", key=Secret(" sk-secret\n"))
    for text in (str(account.key), repr(account.key), f"{account}", repr(account)):
        assert "sk-secret" not in text
    assert account.key.reveal() == "sk-secret"


@pytest.mark.parametrize("text", ["sk a", "sk-\nb", "sk-é", "sk-\x00", "sk-“b”"])
def test_what_cannot_be_a_key_is_refused_without_being_shown(text):
    with pytest.raises(ConfigError) as caught:
        Secret(text)
    assert text not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["", "api.openai.com/v1", "ftp://x/v1", "https://", "https://user:pw@x/v1", "https://x/v1?a=b", "https://x/v1#a"],
)
def test_a_base_url_must_be_a_plain_address(url):
    with pytest.raises(ConfigError) as caught:
        Account(provider="openai", base_url=url, key=Secret("k"))
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("base", ["https://x.example/v1", "https://x.example/v1/"])
def test_paths_are_joined_by_one_slash(base):
    assert Account(provider="openai", base_url=base, key=Secret("k")).url("/files") == "https://x.example/v1/files"


def test_a_path_that_is_no_path_is_our_own_mistake():
    account = Account(provider="openai", base_url="https://x.example", key=Secret("k"))
    with pytest.raises(AssertionError):
        account.url("@evil.example/files")


@pytest.mark.parametrize(
    ("url", "local", "encrypted"),
    [
        ("http://127.0.0.1:8080/v1", True, False),
        ("http://localhost/v1", True, False),
        ("http://[::1]:1/v1", True, False),
        ("https://api.openai.com/v1", False, True),
        ("http://127.0.0.1.example.com/v1", False, False),
    ],
)
def test_this_machine_is_known(url, local, encrypted):
    account = Account(provider="openai", base_url=url, key=Secret("k"))
    assert (account.is_local, account.is_encrypted) == (local, encrypted)
