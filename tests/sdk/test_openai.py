"""The sandbox judged by the official OpenAI SDK: its types, its paging, its error classes, its retries."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx2
import msgspec
import openai
import pytest
from pydantic import BaseModel

from bydawn.sandbox import BatchFault, CallFault, FaultPlan, SandboxConfig, create_app

CHAT = "/v1/chat/completions"


def line(custom_id: str, **body: Any) -> bytes:
    fields = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": custom_id}], **body}
    return msgspec.json.encode({"custom_id": custom_id, "method": "POST", "url": CHAT, "body": fields}) + b"\n"


@pytest.fixture
def connect(make_sandbox):
    """Makes SDK clients of a fresh sandbox; by default one without retries."""
    clients = []

    def make(key: str = "sk-one", retries: int = 0, **settings: Any) -> openai.OpenAI:
        sandbox = make_sandbox(**settings)
        clients.append(openai.OpenAI(api_key=key, base_url=sandbox.base_url, max_retries=retries))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def upload(client: openai.OpenAI, content: bytes) -> str:
    return client.files.create(file=("in.jsonl", content), purpose="batch").id


def run(client: openai.OpenAI, content: bytes) -> Any:
    """Upload, create, wait for the end."""
    batch = client.batches.create(
        input_file_id=upload(client, content), endpoint=CHAT, completion_window="24h", metadata={"k": "v"}
    )
    while batch.status not in {"completed", "failed", "expired"}:
        time.sleep(0.01)
        batch = client.batches.retrieve(batch.id)
    return batch


def no_nones_missing(model: BaseModel) -> None:
    """Every field the SDK knows was on the wire, and nothing it does not know."""
    assert model.model_fields_set == set(type(model).model_fields), type(model).__name__


def test_a_batch_from_upload_to_download(connect):
    client = connect()
    batch = run(client, line("a") + line("b", temperature=9))
    assert (batch.status, batch.metadata, batch.model) == ("completed", {"k": "v"}, "gpt-4o-mini-2024-07-18")
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (2, 1, 1)
    no_nones_missing(batch)
    no_nones_missing(batch.usage)
    result = msgspec.json.decode(client.files.content(batch.output_file_id).content)
    completion = openai.types.chat.ChatCompletion.model_validate(result["response"]["body"], strict=True)
    assert batch.usage.input_tokens == completion.usage.prompt_tokens
    error = msgspec.json.decode(client.files.content(batch.error_file_id).content)
    assert (error["custom_id"], error["response"]["status_code"]) == ("b", 400)


def test_downloads_stream(connect, tmp_path):
    client = connect()
    batch = run(client, b"".join(line(f"id-{n}") for n in range(500)))
    target = tmp_path / "out.jsonl"
    with client.files.with_streaming_response.content(batch.output_file_id) as answer:
        answer.stream_to_file(target)
    assert target.read_bytes() == client.files.content(batch.output_file_id).content
    assert target.read_bytes().count(b"\n") == 500


def test_files_from_upload_to_deletion(connect):
    client = connect()
    file = client.files.create(
        file=("in.jsonl", line("a")), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3_600}
    )
    assert file.expires_at == file.created_at + 3_600
    no_nones_missing(file)
    assert client.files.retrieve(file.id) == file
    assert client.files.delete(file.id).deleted is True
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_lists_page_by_themselves(connect):
    client = connect()
    ids = [client.batches.create(input_file_id="file-x", endpoint=CHAT, completion_window="24h").id for _ in range(7)]
    assert [batch.id for batch in client.batches.list(limit=3)] == ids[::-1]
    files = [upload(client, line("a")) for _ in range(5)]
    assert [file.id for file in client.files.list(limit=2, order="asc")] == files


def test_a_failed_validation_is_typed(connect):
    batch = run(connect(), line("a") + b"nonsense\n")
    assert batch.status == "failed"
    assert [(error.code, error.line) for error in batch.errors.data] == [("invalid_json_line", 2)]


def test_cancelling(connect):
    client = connect(faults=FaultPlan(batch=(BatchFault(quirk="expire", value=0.5),)))
    batch = run(client, line("a") + line("b"))
    assert (batch.status, batch.request_counts.completed) == ("expired", 1)
    with pytest.raises(openai.ConflictError, match="Cannot cancel a batch with status 'expired'"):
        client.batches.cancel(batch.id)


def test_the_sdk_asks_three_times_on_a_conflict(connect):
    client = connect(retries=2)
    batch = run(client, line("a"))
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)
    calls = httpx2.get(f"{client.base_url}../_sandbox/calls").json()
    assert calls["counts"]["batches.cancel"] == 3


def test_the_sdk_creates_twice_after_a_lost_answer(connect):
    """The reason for never retrying a create: the SDK does, and two batches run."""
    client = connect(
        retries=2, faults=FaultPlan(call=(CallFault(on="batches.create", action="drop_after", calls=(1,)),))
    )
    client.batches.create(input_file_id="file-x", endpoint=CHAT, completion_window="24h")
    assert len(list(client.batches.list())) == 2


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_error_answers_have_the_sdks_classes(connect, status, expected):
    client = connect(faults=FaultPlan(call=(CallFault(action="status", status=status, retry_after="1"),)))
    with pytest.raises(expected) as caught:
        client.batches.list()
    assert caught.value.status_code == status
    assert caught.value.response.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("settings", "key", "expected", "code"),
    [
        ({}, "wrong", openai.AuthenticationError, "invalid_api_key"),
        ({"broke_keys": frozenset({"sk-one"})}, "sk-one", openai.RateLimitError, "insufficient_quota"),
        ({"unscoped_keys": frozenset({"sk-one"})}, "sk-one", openai.PermissionDeniedError, None),
        ({"batches_per_hour_max": 0}, "sk-one", openai.RateLimitError, "rate_limit_exceeded"),
    ],
)
def test_refused_creates_carry_their_code(connect, settings, key, expected, code):
    with pytest.raises(expected) as caught:
        connect(key, **settings).batches.create(input_file_id="file-x", endpoint=CHAT, completion_window="24h")
    assert caught.value.code == code
    assert caught.value.request_id.startswith("req_")


def test_bad_requests_name_the_field(connect):
    client = connect()
    with pytest.raises(openai.BadRequestError) as caught:
        client.batches.create(input_file_id="file-x", endpoint="/v1/x", completion_window="24h")
    assert (caught.value.param, caught.value.code) == ("endpoint", "invalid_value")
    with pytest.raises(openai.BadRequestError, match=r"Must be \.jsonl"):
        client.files.create(file=("in.csv", b"a,b"), purpose="batch")
    with pytest.raises(openai.NotFoundError, match="No batch found with id 'batch_nope'"):
        client.batches.retrieve("batch_nope")


@pytest.mark.parametrize("action", ["drop_before", "drop_after"])
def test_dropped_connections_are_connection_errors(connect, action):
    client = connect(faults=FaultPlan(call=(CallFault(on="batches.create", action=action),)))
    with pytest.raises(openai.APIConnectionError):
        client.batches.create(input_file_id="file-x", endpoint=CHAT, completion_window="24h")


def test_silence_is_a_timeout(connect):
    client = connect(faults=FaultPlan(call=(CallFault(action="hang"),))).with_options(timeout=0.3)
    with pytest.raises(openai.APITimeoutError):
        client.batches.list()


def test_live_endpoints(connect):
    client = connect()

    class Verdict(BaseModel):
        label: str
        stars: int

    messages: Any = [{"role": "user", "content": "Judge"}]
    parsed = client.chat.completions.parse(model="gpt-4o-mini", messages=messages, response_format=Verdict)
    assert isinstance(parsed.choices[0].message.parsed, Verdict)
    response = client.responses.create(model="gpt-5-mini", input="Hi")
    assert response.status == "completed"
    assert response.output_text
    assert response.usage.output_tokens_details.reasoning_tokens <= response.usage.output_tokens
    vectors = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"], dimensions=16)
    assert [len(entry.embedding) for entry in vectors.data] == [16, 16]
    assert client.moderations.create(input="a", model="omni-moderation-latest").results[0].categories is not None
    assert client.completions.create(model="gpt-3.5-turbo-instruct", prompt="a").choices[0].text


def test_live_refusals(connect):
    messages: Any = [{"role": "user", "content": "Hi"}]
    client = connect()
    with pytest.raises(openai.BadRequestError, match="max_completion_tokens"):
        client.chat.completions.create(model="o3-mini", messages=messages, max_tokens=5)
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-nope", messages=messages)
    assert caught.value.code == "model_not_found"


def test_models(connect):
    client = connect()
    assert client.models.retrieve("gpt-4o").shutdown_date == "2027-01-14"
    assert "gpt-6-luna" in {model.id for model in client.models.list()}


def test_the_async_client_in_process(tmp_path):
    """The whole way without a socket: the application is called directly."""
    app = create_app(SandboxConfig(home=tmp_path / "home", instant=True))

    async def go() -> list[str]:
        http = openai.DefaultAsyncHttpxClient(transport=httpx2.ASGITransport(app=app), base_url="http://sandbox/v1")
        async with openai.AsyncOpenAI(api_key="sk-one", base_url="http://sandbox/v1", http_client=http) as client:
            file = await client.files.create(file=("in.jsonl", line("a") + line("b")), purpose="batch")
            batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
            while batch.status != "completed":
                await asyncio.sleep(0.01)
                batch = await client.batches.retrieve(batch.id)
            assert [found.id async for found in client.batches.list(limit=1)] == [batch.id]
            with pytest.raises(openai.ConflictError):
                await client.with_options(max_retries=0).batches.cancel(batch.id)
            content = (await client.files.content(batch.output_file_id)).content
            return sorted(msgspec.json.decode(entry)["custom_id"] for entry in content.split(b"\n") if entry)

    try:
        assert asyncio.run(go()) == ["a", "b"]
    finally:
        app.state.world.close()
