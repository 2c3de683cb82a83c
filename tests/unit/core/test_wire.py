"""Pages of gateways are told from data, whatever their status and header say."""

from __future__ import annotations

import pytest

from bydawn.core.wire import is_page


@pytest.mark.parametrize(
    ("headers", "start"),
    [
        ({"content-type": "text/html; charset=utf-8"}, b"sorry"),
        ({}, b"<!DOCTYPE html><title>502</title>"),
        ({"content-type": "application/json"}, b"\r\n  <html>"),
    ],
)
def test_a_page_is_a_page(headers: dict[str, str], start: bytes) -> None:
    assert is_page(headers, start)


@pytest.mark.parametrize("start", [b"", b'{"a": "<html>"}', b'{"custom_id": "a"}\n', b"[]"])
def test_data_is_no_page(start: bytes) -> None:
    assert not is_page({"content-type": "application/json"}, start)
