"""The same job as a careful engineer writes it by hand, with the official SDK and the fastest JSON library.

    OPENAI_BASE_URL=... OPENAI_API_KEY=... python benchmarks/handwritten.py rows.jsonl out.jsonl POLL_SECONDS

This is what bydawn is measured against. It splits at the provider's 50,000 lines, joins by custom_id, writes results in
row order, and reads and writes files as streams. It keeps no state: when it dies, what was paid for is lost, and so is
the record of what was sent.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import openai
import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "gpt-4o-mini"
REQUESTS_MAX = 50_000
ENDED = {"completed", "failed", "expired", "cancelled"}


class Answer(NamedTuple):
    """What is kept of an answer while the job runs: a tuple, because 100,000 dictionaries take far more memory."""

    status: str
    text: str | None = None
    finish_reason: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    error: dict[str, Any] | None = None


def write_parts(rows: Path, directory: Path) -> Iterator[Path]:
    """Write the rows as batch files of at most 50,000 requests, and yield each file once it is full."""
    part, lines = directory / "part-0.jsonl", 0
    out = part.open("wb")
    with rows.open("rb") as source:
        for number, line in enumerate(source):
            if lines == REQUESTS_MAX:
                out.close()
                yield part
                part, lines = directory / f"part-{number}.jsonl", 0
                out = part.open("wb")
            out.write(orjson.dumps(request(number, orjson.loads(line)), option=orjson.OPT_APPEND_NEWLINE))
            lines += 1
    out.close()
    yield part


def request(number: int, row: dict[str, Any]) -> dict[str, Any]:
    """Return the batch line of a row."""
    body = {"model": MODEL, **row}
    del body["id"]
    return {"custom_id": f"row-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}


def submit(client: openai.OpenAI, part: Path) -> str:
    """Upload a batch file and start it; return the batch's id."""
    with part.open("rb") as file:
        uploaded = client.files.create(file=file, purpose="batch")
    batch = client.batches.create(input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window="24h")
    return batch.id


def wait(client: openai.OpenAI, batch_id: str, poll_s: float) -> list[str]:
    """Poll until the batch has ended; return the ids of its result files."""
    while (batch := client.batches.retrieve(batch_id)).status not in ENDED:
        time.sleep(poll_s)
    if batch.status == "failed":
        raise RuntimeError(f"{batch_id} failed: {batch.errors}")
    return [file_id for file_id in (batch.output_file_id, batch.error_file_id) if file_id]


def collect(client: openai.OpenAI, file_id: str, directory: Path, answers: dict[str, Answer]) -> None:
    """Download a result file to disk and add what it says to ``answers``, by custom_id."""
    target = directory / file_id
    with client.files.with_streaming_response.content(file_id) as response:
        response.stream_to_file(target)
    with target.open("rb") as file:
        for line in file:
            entry = orjson.loads(line)
            answers[entry["custom_id"]] = answer(entry)


def answer(entry: dict[str, Any]) -> Answer:
    """Return what is kept of a result line."""
    response = entry["response"]
    if response is None or response["status_code"] != 200:
        return Answer("failed", error=entry["error"] or response["body"])
    choice, usage = response["body"]["choices"][0], response["body"]["usage"]
    return Answer(
        "succeeded",
        choice["message"]["content"],
        choice["finish_reason"],
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )


def write_results(rows: Path, answers: dict[str, Answer], target: Path) -> None:
    """Write one result per row, in row order."""
    missing = Answer("failed", error={"message": "no answer came"})
    with rows.open("rb") as source, target.open("wb") as out:
        for number, line in enumerate(source):
            result = answers.get(f"row-{number}", missing)._asdict()
            result = {"id": orjson.loads(line)["id"], "row": number, **result}
            out.write(orjson.dumps(result, option=orjson.OPT_APPEND_NEWLINE))


def main(rows: Path, target: Path, poll_s: float) -> None:
    """Run the job from file to file."""
    client = openai.OpenAI()
    answers: dict[str, Answer] = {}
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        directory = Path(name)
        batch_ids = [submit(client, part) for part in write_parts(rows, directory)]
        for batch_id in batch_ids:
            for file_id in wait(client, batch_id, poll_s):
                collect(client, file_id, directory, answers)
        write_results(rows, answers, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
