"""Decoding a batch: every row ends in one state, and every line is used, counted, or kept aside."""

from __future__ import annotations

import os
import struct
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bydawn.core.result import Answer, RowError, Usage
from bydawn.engine.decode import RAW_ERROR_FILE, Collected, Task, after_end, decode_batch
from bydawn.engine.writing import PER_ROW
from bydawn.pricing import PICO, Rates, Tariff, Tier
from bydawn.providers.openai import OpenAI
from bydawn.store.ledger import CANCELLED, EXPIRED, FAILED, STATUS_NAMES, SUCCEEDED, WAITING
from bydawn.store.records import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bydawn.core.batch import Lane

    Make = Callable[..., Any]
    Decode = Callable[..., "Decoded"]


def tariff(price: str, output: str) -> Tariff:
    per_million = Decimal(price)
    tier = Tier(input=per_million, cached=per_million / 2, output=Decimal(output), cache_write=per_million)
    return Tariff((tier,))


RATES = Rates(batch=tariff("1", "4"), live=tariff("2", "8"), source="test")


def line(custom_id: str, **fields: Any) -> bytes:
    """A line of the plain provider."""
    return msgspec.json.encode({"id": custom_id, **fields}) + b"\n"


class Decoded:
    """What decoding a batch said and wrote."""

    def __init__(self, task: Task, collected: Collected) -> None:
        self.task = task
        self.states, self.tally = list(collected.states), collected.tally
        self.cut, self.quota, self.unread, self.waiting = (
            collected.cut,
            collected.quota,
            collected.unread,
            collected.waiting,
        )
        count = task.batch.rows
        self.index = struct.unpack(f"<{count}Q{count}I{count}Q{count}I", task.index.read_bytes())

    def column(self, number: int) -> tuple[int, ...]:
        count = self.task.batch.rows
        return self.index[number * count : (number + 1) * count]

    def record(self, position: int) -> dict[str, Any] | None:
        offset, length = self.column(0)[position], self.column(1)[position]
        if not length:
            return None
        written = self.task.results.read_bytes()[offset : offset + length]
        assert written.startswith(b",")
        assert written.endswith(b"}\n")
        return msgspec.json.decode(b"{" + written[1:])

    def raw(self, position: int) -> bytes:
        where, length = self.column(2)[position], self.column(3)[position]
        kind = "error" if where & RAW_ERROR_FILE else "output"
        offset = where & ~RAW_ERROR_FILE
        return dict(self.task.received)[kind].read_bytes()[offset : offset + length]

    @property
    def aside(self) -> list[bytes]:
        path = self.task.strays
        return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def decode_in(
    folder: Path,
    batch: Make,
    lane: Lane,
    provider: Any,
    received: dict[str, bytes],
    ordinals: Sequence[int] = range(4),
    *,
    requests: bytes = b"",
    end_reason: str = "completed",
    rates: Rates | None = RATES,
    may_retry: bool = True,
    **changes: Any,
) -> Decoded:
    values = {"state": "ended", "end_reason": end_reason, "rows": len(ordinals), "attempts_left": 0} | changes
    for kind, content in received.items():
        (folder / kind).write_bytes(content)
    (folder / "requests").write_bytes(requests)
    task = Task(
        batch=batch(1, **values),
        lane=lane,
        ordinals=ordinals,
        provider=provider,
        rates=rates,
        may_retry=may_retry,
        received=tuple((kind, folder / kind) for kind in ("output", "error") if kind in received),
        no_line=after_end(end_reason),
        requests=folder / "requests",
        results=folder / "results",
        index=folder / "index",
        strays=folder / "strays",
    )
    return Decoded(task, decode_batch(task))


@pytest.fixture
def decode(tmp_path: Path, batch: Make, lane: Lane, plain: Any) -> Decode:
    def decode(output: bytes = b"", error: bytes | None = None, **more: Any) -> Decoded:
        received = {"output": output} if error is None else {"output": output, "error": error}
        return decode_in(tmp_path, batch, lane, more.pop("provider", plain), more.pop("received", received), **more)

    return decode


# What is not ours


@pytest.mark.parametrize(
    "custom_id",
    [
        "", "1", "nonce", "nonce-", "nonce-x", "nonce-4", "nonce--1", "nonce-1 ", " nonce-1", "other-1", "Nonce-1",
        "nonce-1-1", "nonce-01", "nonce-+1", "nonce-1.0", "nonce-１", "nonce-²", "nonce-" + "9" * 30,
        "nonce-" + "1" * 5000, "nonce-1\n",
    ],
)  # fmt: skip
def test_a_line_with_another_custom_id_is_kept_aside(decode: Decode, custom_id: str) -> None:
    decoded = decode(line(custom_id, text="whose?"))
    assert (decoded.tally.strays, decoded.tally.missing, decoded.tally.succeeded) == (1, 4, 0)
    assert decoded.aside == [line(custom_id, text="whose?")[:-1]]


def test_a_row_of_the_job_that_another_batch_holds_is_a_stray(decode: Decode) -> None:
    decoded = decode(line("nonce-6") + line("nonce-5"), ordinals=[1, 5, 9])
    assert (decoded.tally.strays, decoded.tally.succeeded, decoded.tally.missing) == (1, 1, 2)


def test_the_first_line_of_a_row_counts_and_the_output_file_comes_first(decode: Decode) -> None:
    decoded = decode(
        line("nonce-0", text="first") + line("nonce-0", text="second"),
        line("nonce-0", outcome="errored") + line("nonce-1", outcome="errored") + line("nonce-1", text="too late"),
        ordinals=range(2),
    )
    assert decoded.states == [SUCCEEDED, FAILED]
    assert decoded.record(0)["text"] == "first"  # type: ignore[index]
    assert (decoded.tally.repeats, decoded.tally.strays, len(decoded.aside)) == (3, 0, 3)


@pytest.mark.parametrize("junk", [b"no json\n", b"{}\n", b"[1]\n", b'{"id": 5\n', b"\xff\xfe\n", b"<html></html>\n"])
def test_a_line_that_cannot_be_read_is_kept_aside(decode: Decode, junk: bytes) -> None:
    decoded = decode(line("nonce-0") + junk + line("nonce-1"))
    assert (decoded.unread, decoded.cut, decoded.tally.succeeded, decoded.tally.missing) == (1, False, 2, 2)
    assert decoded.aside == [junk[:-1]]


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b"   \n", b"\t\r\n", b"\n\n\n"])
def test_blank_lines_are_nothing(decode: Decode, blank: bytes) -> None:
    decoded = decode(blank + line("nonce-0") + blank + line("nonce-1") + blank)
    assert (decoded.unread, decoded.tally.strays, decoded.aside, decoded.cut) == (0, 0, [], False)
    assert [decoded.raw(0), decoded.raw(1)] == [line("nonce-0"), line("nonce-1")]


def test_lines_may_end_in_crlf_and_the_last_in_nothing(decode: Decode) -> None:
    content = b"".join(line(f"nonce-{n}", text=str(n)).replace(b"\n", b"\r\n") for n in range(4))
    decoded = decode(content.removesuffix(b"\r\n"))
    assert decoded.states == [SUCCEEDED] * 4
    assert (decoded.unread, decoded.cut) == (0, False)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_only_a_line_feed_ends_a_line(decode: Decode, plain: Any, separator: str) -> None:
    """All of these are legal, raw, within JSON text; str.splitlines() would cut the row in two."""
    text = f"one{separator}two"
    raw = b'{"id":"nonce-0","text":"one%btwo"}\n' % (
        separator.encode() if separator >= " " else rb"\u%04x" % ord(separator)
    )
    decoded = decode(raw + line("nonce-1"))
    assert decoded.record(0)["text"] == text  # type: ignore[index]
    assert decoded.tally.succeeded == 2


@pytest.mark.parametrize("left", [1, 5, 20])
def test_a_file_that_ends_in_mid_line_is_seen(decode: Decode, left: int) -> None:
    decoded = decode(line("nonce-0") + line("nonce-1", text="long enough")[:left])
    assert (decoded.cut, decoded.unread, decoded.tally.missing) == (True, 1, 3)
    assert decoded.aside == [line("nonce-1", text="long enough")[:left]]


# What is ours


def test_records_have_the_published_fields_and_the_batchs_facts(decode: Decode) -> None:
    decoded = decode(line("nonce-0", text="é \u2028 \0", usage=[10, 2, 4, 1]), ordinals=range(1), attempt=2)
    assert decoded.record(0) == {
        "status": "succeeded", "model": "openai/gpt-4o-mini", "text": "é \u2028 \0", "parsed": None, "tool_calls": None,
        "finish_reason": None,
        "usage": {"input_tokens": 10, "output_tokens": 2, "cached_tokens": 4, "reasoning_tokens": 1},
        "cost_usd": 1.6e-05, "error": None, "attempts": 2, "provider_batch_id": "batch_1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("end_reason", "outcome", "state"),
    [
        ("completed", "missing", FAILED),
        ("failed", "missing", FAILED),
        ("expired", "expired", EXPIRED),
        ("cancelled", "cancelled", CANCELLED),
    ],
)
def test_rows_without_a_line_end_as_their_batch_did(decode: Decode, end_reason: str, outcome: str, state: int) -> None:
    decoded = decode(line("nonce-2", text="in time"), end_reason=end_reason)
    assert decoded.states == [state, state, SUCCEEDED, state]
    assert getattr(decoded.tally, outcome) == 3
    record = decoded.record(0)
    assert record is not None
    assert (record["status"], record["error"]["kind"]) == (STATUS_NAMES[state], outcome)
    assert decoded.column(3)[0] == 0


def test_without_any_file_all_rows_are_missing(decode: Decode) -> None:
    """All failed or cancelled batches have no output file; some have no file at all."""
    decoded = decode(received={})
    assert (decoded.states, decoded.tally.missing) == ([FAILED] * 4, 4)
    decoded = decode(received={"error": line("nonce-3", outcome="errored")})
    assert (decoded.states, decoded.tally.errored, decoded.tally.missing) == ([FAILED] * 4, 1, 3)


def test_rows_that_may_be_sent_again_wait_and_have_no_record(decode: Decode) -> None:
    decoded = decode(
        line("nonce-0", text="good"),
        line("nonce-1", outcome="errored", retry=True) + line("nonce-2", outcome="errored", retry=False),
        attempts_left=1,
    )
    assert decoded.states == [SUCCEEDED, WAITING, FAILED, WAITING]
    assert decoded.waiting == 2
    assert [decoded.record(position) is None for position in range(4)] == [False, True, False, True]
    assert decoded.raw(1) == line("nonce-1", outcome="errored", retry=True)


def test_in_a_cancelled_job_nothing_waits(decode: Decode) -> None:
    decoded = decode(line("nonce-0", outcome="errored", retry=True), attempts_left=2, may_retry=False)
    assert (decoded.waiting, decoded.states[0]) == (0, FAILED)


def test_rows_that_failed_for_want_of_money_are_told(decode: Decode) -> None:
    decoded = decode(line("nonce-0", outcome="errored", kind="quota", retry=True))
    assert (decoded.quota, decoded.states[0]) == ("it failed", WAITING)
    assert decode(line("nonce-0", outcome="errored", retry=True)).quota is None


def test_decoding_again_writes_the_same_files(decode: Decode) -> None:
    """A crash before the commit repeats it, over what the first time left."""
    output = line("nonce-1", text="a", usage=[1, 2, 0, 0]) + line("who") + line("nonce-1")
    first = decode(output)
    files = [first.task.results, first.task.index, first.task.strays]
    before = [path.read_bytes() for path in files]
    again = decode(output)
    assert [path.read_bytes() for path in files] == before
    assert (again.states, again.tally) == (first.states, first.tally)


def test_no_empty_file_of_strays_is_left(decode: Decode) -> None:
    decode(line("who"))
    assert not decode(line("nonce-0")).task.strays.exists()


def test_what_was_decoded_is_on_disk_before_it_counts(decode: Decode, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: dict[str, int] = {}
    fsync = os.fsync

    def spy(descriptor: int) -> None:
        fsync(descriptor)
        synced[Path(f"/proc/self/fd/{descriptor}").readlink().name] = os.fstat(descriptor).st_size

    monkeypatch.setattr(os, "fsync", spy)
    task = decode(line("nonce-0") + line("who")).task
    for path in (task.results, task.index, task.strays):
        assert synced[path.name] == path.stat().st_size > 0
    assert task.results.parent.name in synced


def test_its_files_are_private(decode: Decode) -> None:
    task = decode(line("nonce-0") + line("who")).task
    assert {path.stat().st_mode & 0o777 for path in (task.results, task.index, task.strays)} == {0o600}


# Money


def test_tokens_and_costs_are_summed_over_all_that_was_billed(decode: Decode) -> None:
    """Also of answers that are sent again, and of failures that report usage: they were paid for."""
    decoded = decode(
        line("nonce-0", usage=[100, 10, 40, 5]) + line("nonce-1", usage=[1, 1, 0, 0]),
        line("nonce-2", outcome="errored", retry=True, usage=[1000, 0, 0, 0]) + line("nonce-3", outcome="errored"),
        attempts_left=1,
    )
    tally = decoded.tally
    assert (tally.input_tokens, tally.output_tokens, tally.cached_tokens, tally.reasoning_tokens) == (1101, 11, 40, 5)
    assert tally.cost_pico == (60 + 20 + 40 + 1 + 4 + 1000) * 10**6
    assert tally.live_pico == 2 * tally.cost_pico
    assert tally.unpriced == 0
    costs = [decoded.record(position)["cost_usd"] for position in (0, 1, 3)]  # type: ignore[index]
    assert costs == [120 * 10**6 / PICO, 5 * 10**6 / PICO, None]


def test_an_unknown_price_is_null_and_counted_never_zero(decode: Decode) -> None:
    decoded = decode(line("nonce-0", usage=[5, 5, 0, 0]) + line("nonce-1"), rates=None)
    assert (decoded.tally.cost_pico, decoded.tally.live_pico, decoded.tally.unpriced) == (0, 0, 1)
    assert decoded.record(0)["cost_usd"] is None  # type: ignore[index]
    assert decoded.tally.input_tokens == 5


# Any files at all

LINES = st.lists(
    st.one_of(
        st.tuples(st.just("row"), st.integers(0, 7), st.sampled_from(["succeeded", "errored", "expired", "cancelled"])),
        st.tuples(st.just("stray"), st.integers(8, 20), st.just("succeeded")),
        st.tuples(st.just("junk"), st.binary(max_size=6).filter(lambda junk: b"\n" not in junk), st.just("")),
    ),
    max_size=25,
)


def rendered(kind: str, what: Any, outcome: str) -> bytes:
    if kind == "junk":
        return b"?" + what + b"\n"
    return line(f"nonce-{what * 3 + 1}", outcome=outcome, text=outcome, usage=[1, 1, 0, 0], retry=what % 2 == 0)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    output=LINES,
    error=LINES,
    attempts_left=st.integers(0, 1),
    end_reason=st.sampled_from(["completed", "expired", "cancelled"]),
)
def test_whatever_the_files_hold_the_tally_adds_up(
    batch: Make, lane: Lane, plain: Any, output: Any, error: Any, attempts_left: int, end_reason: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = {"output": output, "error": error}
        received = {kind: b"".join(rendered(*drawn) for drawn in lines) for kind, lines in files.items()}
        decoded = decode_in(
            Path(folder), batch, lane, plain, received, range(1, 25, 3),
            attempts_left=attempts_left, end_reason=end_reason,
        )  # fmt: skip
        every = [*output, *error]
        first: dict[int, str] = {}
        for kind, what, outcome in every:
            if kind == "row":
                first.setdefault(what, outcome)
        tally = decoded.tally
        assert tally.adds_up()
        assert tally.rows == len(decoded.states) == 8
        assert all(decoded.states)
        assert tally.succeeded == list(first.values()).count("succeeded")
        assert tally.errored == list(first.values()).count("errored")
        assert tally.missing + tally.expired + tally.cancelled + tally.succeeded + tally.errored == 8
        assert tally.strays == sum(kind == "stray" for kind, *_ in every)
        assert tally.repeats == sum(kind == "row" for kind, *_ in every) - len(first)
        assert decoded.unread == sum(kind == "junk" for kind, *_ in every)
        assert len(decoded.aside) == tally.strays + tally.repeats + decoded.unread
        assert tally.input_tokens == len(first)
        assert decoded.waiting == decoded.states.count(WAITING)
        for position, state in enumerate(decoded.states):
            record = decoded.record(position)
            assert (record is None) == (state == WAITING)
            if record is not None:
                assert record["status"] == STATUS_NAMES[state]
                assert record["text"] == first.get(position)
            if position in first:
                assert msgspec.json.decode(decoded.raw(position))["text"] == first[position]


def test_a_tally_that_does_not_add_up_says_so() -> None:
    assert Tally(rows=5, succeeded=1, errored=1, expired=1, cancelled=1, missing=1).adds_up()
    assert not Tally(rows=5, succeeded=1, errored=1, expired=1, cancelled=1).adds_up()


@pytest.mark.parametrize("reason", ["completed", "failed", "expired", "cancelled", None])
def test_rows_that_never_ran_may_be_sent_again(reason: str | None) -> None:
    answer = after_end(reason)(0)
    assert answer.error is not None
    assert answer.error.retryable
    assert answer.usage is None


# The real codec


def chat(custom_id: str, content: str | None = "Lisbon.", *, status: int = 200, **body: Any) -> bytes:
    """A result line as OpenAI writes it."""
    answer = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 8, "prompt_tokens_details": {"cached_tokens": 4}},
    }
    response = {"status_code": status, "request_id": "5d1f", "body": body or answer}
    return (
        msgspec.json.encode({"id": "batch_req_1", "custom_id": custom_id, "response": response, "error": None}) + b"\n"
    )


def never_ran(custom_id: str, code: str) -> bytes:
    error = {"code": code, "message": "This request was not executed."}
    return msgspec.json.encode({"id": "x", "custom_id": custom_id, "response": None, "error": error}) + b"\n"


def test_a_mixed_batch_of_openai(decode: Decode) -> None:
    refused = {"error": {"message": "Unsupported value", "type": "invalid_request_error", "code": "unsupported_value"}}
    busy = {"error": {"message": "Try again", "type": "server_error", "code": None}}
    decoded = decode(
        chat("nonce-2") + chat("nonce-0", "Porto.") + chat("nonce-6", status=0, error=busy["error"]),
        chat("nonce-1", status=400, **refused) + chat("nonce-3", status=500, **busy)
        + never_ran("nonce-4", "batch_expired")
        + chat("nonce-2", status=500, **busy),
        provider=OpenAI(), ordinals=range(7), end_reason="expired", attempts_left=1,
    )  # fmt: skip
    assert decoded.states == [SUCCEEDED, FAILED, SUCCEEDED, WAITING, WAITING, WAITING, WAITING]
    tally = decoded.tally
    assert (tally.succeeded, tally.errored, tally.expired, tally.missing, tally.repeats) == (2, 3, 2, 0, 1)
    assert [decoded.record(position)["text"] for position in (0, 2)] == ["Porto.", "Lisbon."]  # type: ignore[index]
    assert decoded.record(1)["error"] == {  # type: ignore[index]
        "kind": "invalid_request", "code": "unsupported_value", "message": "Unsupported value", "retryable": False,
        "provider": "openai",
    }  # fmt: skip
    assert tally.input_tokens == 40
    assert tally.cached_tokens == 8


def test_the_rows_of_a_whole_batch_in_any_order(decode: Decode) -> None:
    count = 200
    order = [(position * 77) % count for position in range(count)]
    decoded = decode(
        b"".join(chat(f"nonce-{position}", str(position)) for position in order),
        provider=OpenAI(),
        ordinals=range(count),
    )
    assert [decoded.record(position)["text"] for position in range(count)] == [str(n) for n in range(count)]  # type: ignore[index]


# Answers that were to be JSON

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
CHAT_FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}
RESPONSES_FORMAT = {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}


def text_of(form: Any) -> str:
    return msgspec.json.encode(form).decode()


@pytest.mark.parametrize("form", [CHAT_FORMAT, RESPONSES_FORMAT])
@pytest.mark.parametrize(
    ("text", "state", "parsed", "kind"),
    [
        ('{"n": 1}', SUCCEEDED, {"n": 1}, None),
        (' {"n": 123456789012345678901234567890}\n', SUCCEEDED, {"n": 123456789012345678901234567890}, None),
        ('{"n": "one"}', FAILED, {"n": "one"}, "schema_mismatch"),
        ("{}", FAILED, {}, "schema_mismatch"),
        ("null", FAILED, None, "schema_mismatch"),
        ('{"n": 1', FAILED, None, "invalid_json"),
        ('```json\n{"n": 1}\n```', FAILED, None, "invalid_json"),
        ("", FAILED, None, "invalid_json"),
        ('{"n": 1e999}', FAILED, None, "invalid_json"),
        ("[" * 5000 + "]" * 5000, FAILED, None, "invalid_json"),
    ],
)
def test_answers_are_checked_against_the_schema_all_rows_share(
    decode: Decode, form: Any, text: str, state: int, parsed: Any, kind: str | None
) -> None:
    decoded = decode(
        line("nonce-0", text=text, usage=[1, 1, 0, 0]), ordinals=range(1), answer_format=text_of(form), attempts_left=2
    )
    record = decoded.record(0)
    assert record is not None
    assert (decoded.states, record["text"], record["parsed"]) == ([state], text, parsed)
    assert (record["error"] or {"kind": None})["kind"] == kind
    assert record["cost_usd"] == 5e-06
    if kind is not None:
        assert (record["error"]["retryable"], record["error"]["provider"]) == (False, None)
        assert decoded.tally.errored == 1


def test_a_mismatch_says_where(decode: Decode) -> None:
    decoded = decode(line("nonce-0", text='{"n": "x"}'), ordinals=range(1), answer_format=text_of(CHAT_FORMAT))
    assert decoded.record(0)["error"]["message"].startswith("n: ")  # type: ignore[index]


@pytest.mark.parametrize(
    ("form", "text", "state"),
    [
        ({"type": "json_object"}, '{"anything": []}', SUCCEEDED),
        ({"type": "json_object"}, "prose", FAILED),
        ({"type": "text"}, "prose", SUCCEEDED),
        ({"format": {"type": "text"}, "verbosity": "low"}, "prose", SUCCEEDED),
        ({"type": "new_kind"}, "prose", SUCCEEDED),
        (None, "prose", SUCCEEDED),
        ([], "prose", SUCCEEDED),
        ({"type": "json_schema"}, '{"a": 1}', SUCCEEDED),
        ({"type": "json_schema", "json_schema": {"schema": {"type": "nonsense"}}}, '{"a": 1}', SUCCEEDED),
        ({"type": "json_schema", "json_schema": {"schema": {"$ref": "https://example.org/x"}}}, '{"a": 1}', SUCCEEDED),
        ({"type": "json_schema", "json_schema": {"schema": 5}}, "prose", FAILED),
    ],
)
def test_other_formats(decode: Decode, form: Any, text: str, state: int) -> None:
    """A schema that we cannot read is not held against the answers: the provider took it."""
    decoded = decode(line("nonce-0", text=text), ordinals=range(1), answer_format=text_of(form))
    assert decoded.states == [state]


def test_answers_without_text_and_failures_are_not_checked(decode: Decode) -> None:
    """A tool call has no text; a failure has its own error already."""
    decoded = decode(
        line("nonce-0") + line("nonce-1", outcome="errored", text="prose"),
        ordinals=range(2), answer_format=text_of(CHAT_FORMAT),
    )  # fmt: skip
    assert decoded.states == [SUCCEEDED, FAILED]
    assert decoded.record(1)["error"]["kind"] == "server_error"  # type: ignore[index]


def test_each_row_is_checked_against_its_own_format(decode: Decode) -> None:
    forms: list[dict[str, Any]] = [
        {"response_format": CHAT_FORMAT}, {"response_format": {"type": "json_object"}}, {}, {"text": RESPONSES_FORMAT},
        {"response_format": None}, {"response_format": CHAT_FORMAT},
    ]  # fmt: skip
    requests = b"".join(msgspec.json.encode({"custom_id": "x", "body": form}) + b"\n" for form in forms)
    output = b"".join(line(f"nonce-{position * 5}", text='{"m": 1}') for position in reversed(range(len(forms))))
    decoded = decode(output, ordinals=range(0, 30, 5), answer_format=PER_ROW, requests=requests)
    assert decoded.states == [FAILED, SUCCEEDED, SUCCEEDED, FAILED, SUCCEEDED, FAILED]
    assert [decoded.record(position)["parsed"] for position in range(6)] == [  # type: ignore[index]
        {"m": 1}, {"m": 1}, None, {"m": 1}, None, {"m": 1},
    ]  # fmt: skip


class OneAnswer:
    """A provider whose every line is the answer given."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def decode(self, line: bytes, endpoint: str) -> Answer:
        return self.answer


def test_embeddings_and_tool_calls_are_written_as_they_came(decode: Decode) -> None:
    vector = msgspec.Raw(b"[0.10, 2.5e-3]")
    decoded = decode(
        b"x\n", ordinals=range(1), provider=OneAnswer(Answer("nonce-0", "succeeded", embedding=vector, usage=Usage(3)))
    )
    assert decoded.record(0)["embedding"] == [0.1, 0.0025]  # type: ignore[index]
    assert b'"embedding":[0.10, 2.5e-3]' in decoded.task.results.read_bytes()
    calls = [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"cut'}}]
    decoded = decode(b"x\n", ordinals=range(1), provider=OneAnswer(Answer("nonce-0", "succeeded", tool_calls=calls)))
    assert decoded.record(0)["tool_calls"] == calls  # type: ignore[index]
    assert "embedding" not in (decoded.record(0) or {})


def test_what_was_generated_before_a_failure_is_kept(decode: Decode) -> None:
    error = RowError("refusal", None, "I will not.", retryable=False, provider="openai")
    answer = Answer("nonce-0", "errored", text="Well, ", finish_reason="content_filter", usage=Usage(3, 4), error=error)
    record = decode(b"x\n", ordinals=range(1), provider=OneAnswer(answer)).record(0)
    assert record is not None
    assert (record["text"], record["finish_reason"], record["cost_usd"]) == ("Well, ", "content_filter", 1.9e-05)
    assert record["error"] == {
        "kind": "refusal", "code": None, "message": "I will not.", "retryable": False, "provider": "openai",
    }  # fmt: skip
