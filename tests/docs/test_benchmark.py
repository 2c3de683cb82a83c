"""The benchmark measures both programs, and does not believe them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PARTS = ("answers", "check_output", "stub", "texts")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The benchmark's scripts import each other as scripts do: from their own folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for part in PARTS:
        sys.modules.pop(part, None)


def results(count: int) -> list[dict[str, Any]]:
    from texts import answer_text

    return [
        {"id": f"mail-{row}", "row": row, "status": "succeeded", "text": answer_text(row, f"c-{row}")}
        for row in range(count)
    ]


def check(path: Path, lines: list[dict[str, Any]], count: int) -> None:
    from check_output import check_output

    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    check_output(path, count)


def batch_file(count: int) -> bytes:
    line = b'{"custom_id":"c-%d","body":{"model":"m","messages":[{"role":"user","content":"Ticket #%08d x"}]}}\n'
    return b"".join(line % (row, row) for row in range(count))


def test_both_programs_run_and_are_measured(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--rows", "300", "--pairs", "1", "--json", str(report)]
    done = subprocess.run([*command, "--dir", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    measured = msgspec.json.decode(report.read_bytes())
    assert [run["program"] for run in measured["runs"]] == ["bydawn", "handwritten"]
    assert all(run["cpu_s"] > 0 and run["peak_mb"] > 0 for run in measured["runs"])
    assert measured["ratios"].keys() == {"wall_s", "cpu_s", "peak_mb"}


def test_right_results_are_accepted(tmp_path: Path) -> None:
    check(tmp_path / "out", results(70), 70)


@pytest.mark.parametrize("wrong", ["swapped", "crossed", "short", "long", "damaged", "failed", "one id"])
def test_wrong_results_are_refused(tmp_path: Path, wrong: str) -> None:
    from check_output import WrongOutput
    from texts import answer_text

    lines = results(70)
    match wrong:
        case "swapped":
            lines[3], lines[4] = lines[4], lines[3]
        case "crossed":
            lines[3]["text"], lines[4]["text"] = lines[4]["text"], lines[3]["text"]
        case "short":
            lines.pop()
        case "long":
            lines += results(71)[70:]
        case "damaged":
            lines[5]["text"] = lines[5]["text"][:-1]
        case "failed":
            lines[6]["status"] = "failed"
        case "one id":
            lines[7]["text"] = answer_text(7, "c-8")
    with pytest.raises(WrongOutput):
        check(tmp_path / "out", lines, 70)


def test_the_stub_answers_out_of_order_and_truly(tmp_path: Path) -> None:
    from answers import answer_batch
    from texts import answer_text

    assert answer_batch(batch_file(200), tmp_path / "answers") == 200
    answers = [msgspec.json.decode(line) for line in (tmp_path / "answers").read_bytes().split(b"\n") if line]
    texts = {answer["custom_id"]: answer["response"]["body"]["choices"][0]["message"]["content"] for answer in answers}
    assert texts == {f"c-{row}": answer_text(row, f"c-{row}") for row in range(200)}
    assert list(texts) != [f"c-{row}" for row in range(200)]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (batch_file(50_001), "too_many_tasks"),
        (batch_file(3).replace(b'"c-1"', b'"c-0"'), "duplicate_custom_id"),
        (batch_file(3).replace(b'"custom_id":"c-1",', b""), "missing_required_parameter"),
        (batch_file(3).replace(b"{", b"[", 1), "invalid_json_line"),
    ],
    ids=["too many", "twice", "nameless", "not JSON"],
)
def test_the_stub_refuses_what_the_provider_would(tmp_path: Path, content: bytes, code: str) -> None:
    from answers import BadBatch, answer_batch

    with pytest.raises(BadBatch) as refused:
        answer_batch(content, tmp_path / "answers")
    assert refused.value.code == code
    assert not (tmp_path / "answers").exists()


@pytest.mark.parametrize("file_first", [False, True])
def test_the_stub_finds_the_file_inside_an_upload(tmp_path: Path, file_first: bool) -> None:
    from stub import find_file_part

    content = batch_file(2)
    purpose = b'--edge\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    head = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\nContent-Type: x/y\r\n\r\n'
    parts = [purpose, head + content + b"\r\n"]
    body = b"".join(reversed(parts) if file_first else parts) + b"--edge--\r\n"
    (tmp_path / "upload").write_bytes(body)
    start, size, name, purpose_found = find_file_part(tmp_path / "upload", b"edge")
    assert body[start : start + size] == content
    assert (name, purpose_found) == ("a.jsonl", "batch")
