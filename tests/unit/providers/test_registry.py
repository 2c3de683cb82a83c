"""Goal: providers are found by name, and their codecs are imported only when they are asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bydawn.errors import ConfigError
from bydawn.providers.openai import OpenAI
from bydawn.providers.registry import PROVIDERS, get_provider


def test_a_provider_is_made_once():
    assert isinstance(get_provider("openai"), OpenAI)
    assert get_provider("openai") is PROVIDERS["openai"]


def test_names_are_known_without_making_codecs():
    assert "openai" in PROVIDERS
    assert list(PROVIDERS) == ["openai"]
    assert len(PROVIDERS) == 1


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigError, match="'acme'") as caught:
        get_provider("acme")
    assert "openai" in caught.value.hint


def test_the_registry_imports_no_codec_and_no_http_library():
    use = "assert 'openai' in r.PROVIDERS and list(r.PROVIDERS)"
    program = f"import sys, bydawn.providers.registry as r; {use}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "bydawn.providers.openai" not in loaded
    assert "httpx2" not in loaded
