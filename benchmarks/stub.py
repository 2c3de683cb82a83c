"""A fast stand-in for OpenAI's files and batches, for measuring clients: it must never be what limits them.

    python benchmarks/stub.py DIRECTORY

listens on a free loopback port, prints its base URL, and serves until it is stopped. Uploads go to disk as they come;
a batch is answered when it is created and is complete at the first look; result files leave by sendfile. It knows
what the batch path needs and enforces the two limits that make clients split (50,000 lines, 200 MB); it is no judge of
requests: that is the sandbox's business. ``GET /usage`` tells the processor time and memory it took itself.
"""

from __future__ import annotations

import mmap
import re
import resource
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec

from answers import BadBatch, answer_batch

INPUT_BYTES_MAX = 200_000_000
_CHUNK_BYTES = 1 << 20
_PAGE_DEFAULT = 20
_CREATED = 1_795_000_000


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file the stub holds: ``size`` bytes from ``start`` in ``path``, for uploads keep their multipart frame."""

    described: dict[str, Any]
    path: Path
    start: int
    size: int


@dataclass(slots=True)
class World:
    """Everything the stub holds. One lock is enough: the work is done in a few large steps."""

    directory: Path
    files: dict[str, StoredFile] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    made: int = 0
    began_cpu_s: float = field(default_factory=time.process_time)

    def usage(self) -> dict[str, float]:
        """Return the processor seconds used since the stub began to serve, and its greatest memory in MB."""
        peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"cpu_s": time.process_time() - self.began_cpu_s, "peak_mb": peak_kb / 1024}

    def new_id(self, prefix: str) -> str:
        """Return an identifier that was not used before."""
        with self.lock:
            self.made += 1
            return f"{prefix}{self.made:024x}"

    def keep(self, file_id: str, path: Path, start: int, size: int, name: str, purpose: str) -> dict[str, Any]:
        """Register bytes on disk as a file; return its object."""
        described = {
            "id": file_id, "object": "file", "bytes": size, "created_at": _CREATED, "expires_at": None,
            "filename": name, "purpose": purpose, "status": "processed", "status_details": None,
        }  # fmt: skip
        with self.lock:
            self.files[file_id] = StoredFile(described, path, start, size)
        return described

    def drop(self, file_id: str) -> None:
        """Forget a file and free its disk space."""
        with self.lock:
            self.files.pop(file_id).path.unlink()

    def create_batch(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Answer the whole batch and return it as it is at creation; the next look shows its end."""
        batch = _new_batch(self.new_id("batch_"), wanted)
        created = dict(batch)
        source = self.files[wanted["input_file_id"]]
        with source.path.open("rb") as file:
            file.seek(source.start)
            content = file.read(source.size)
        output = self.directory / self.new_id("file-")
        try:
            requests = answer_batch(content, output)
        except BadBatch as problem:
            entry = {"code": problem.code, "message": problem.message, "param": None, "line": None}
            batch |= {"status": "failed", "failed_at": _CREATED, "errors": {"object": "list", "data": [entry]}}
        else:
            batch |= self._completed(batch["id"], output, requests)
        with self.lock:
            self.batches[batch["id"]] = batch
        return created

    def _completed(self, batch_id: str, output: Path, requests: int) -> dict[str, Any]:
        """Register the result file and return the fields of the batch's end."""
        self.keep(output.name, output, 0, output.stat().st_size, f"{batch_id}_output.jsonl", "batch_output")
        return {
            "status": "completed", "in_progress_at": _CREATED, "finalizing_at": _CREATED, "completed_at": _CREATED,
            "output_file_id": output.name, "request_counts": {"total": requests, "completed": requests, "failed": 0},
        }  # fmt: skip


def _new_batch(batch_id: str, wanted: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": batch_id, "object": "batch", "endpoint": wanted["endpoint"], "errors": None,
        "input_file_id": wanted["input_file_id"], "completion_window": wanted["completion_window"],
        "status": "validating", "output_file_id": None, "error_file_id": None, "created_at": _CREATED,
        "in_progress_at": None, "expires_at": _CREATED + 86_400, "finalizing_at": None, "completed_at": None,
        "failed_at": None, "expired_at": None, "cancelling_at": None, "cancelled_at": None,
        "request_counts": {"total": 0, "completed": 0, "failed": 0}, "metadata": wanted.get("metadata"),
    }  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    """Reads requests from one connection, which stays open."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    world: World

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Show files, batches, content, models and the stub's own usage."""
        path, _, query = self.path.partition("?")
        match path.removeprefix("/v1").strip("/").split("/"):
            case ["files", file_id, "content"] if file_id in self.world.files:
                self.send_content(self.world.files[file_id])
            case ["files", file_id] if file_id in self.world.files:
                self.send(200, self.world.files[file_id].described)
            case ["batches", batch_id] if batch_id in self.world.batches:
                self.send(200, self.world.batches[batch_id])
            case ["files"]:
                self.send_page([file.described for file in self.world.files.values()], query)
            case ["batches"]:
                self.send_page(list(self.world.batches.values()), query)
            case ["models"]:
                self.send_page([{"id": "gpt-4o-mini", "object": "model", "created": _CREATED, "owned_by": "stub"}], "")
            case ["usage"]:
                self.send(200, self.world.usage())
            case _:
                self.refuse(404, f"The stub has nothing at {path}.")

    def do_POST(self) -> None:
        """Take an upload, or create a batch."""
        if self.path == "/v1/files":
            self.take_upload()
            return
        wanted = msgspec.json.decode(self.rfile.read(int(self.headers["content-length"])) or b"{}")
        if self.path != "/v1/batches":
            self.refuse(404, f"The stub has nothing at {self.path}.")
        elif wanted.get("endpoint") != "/v1/chat/completions" or wanted.get("input_file_id") not in self.world.files:
            self.refuse(400, "The stub makes batches of chat completions from files it has.")
        else:
            self.send(200, self.world.create_batch(wanted))

    def do_DELETE(self) -> None:
        """Delete a file."""
        file_id = self.path.rpartition("/")[2]
        if file_id not in self.world.files:
            self.refuse(404, f"No such File object: {file_id}")
            return
        self.world.drop(file_id)
        self.send(200, {"id": file_id, "object": "file", "deleted": True})

    def take_upload(self) -> None:
        """Write the body to disk as it comes, then find the file inside it."""
        file_id = self.world.new_id("file-")
        path = self.world.directory / file_id
        with path.open("wb") as file:
            for chunk in self.body():
                file.write(chunk)
        boundary = self.headers.get_boundary("").encode()
        start, size, name, purpose = find_file_part(path, boundary)
        if size > INPUT_BYTES_MAX:
            path.unlink()
            self.refuse(400, "File is too large.")
            return
        self.send(200, self.world.keep(file_id, path, start, size, name, purpose))

    def body(self) -> Any:
        """Yield the request's body in pieces, whether its length was announced or it comes in chunks."""
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            yield from self.pieces(int(self.headers["content-length"]))
            return
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield from self.pieces(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def pieces(self, size: int) -> Any:
        """Yield exactly ``size`` bytes of the connection, in views of one buffer."""
        buffer = memoryview(bytearray(min(size, _CHUNK_BYTES)))
        while size:
            count = self.rfile.readinto(buffer[: min(size, len(buffer))])
            if not count:
                raise ConnectionError("the client left in the middle of a body")
            yield buffer[:count]
            size -= count

    def send(self, status: int, answer: object) -> None:
        """Send a JSON answer."""
        body = msgspec.json.encode(answer)
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_page(self, items: list[dict[str, Any]], query: str) -> None:
        """Send one page of a list, newest first."""
        wanted = dict(pair.partition("=")[::2] for pair in query.split("&"))
        newest_first = items[::-1]
        ids = [item["id"] for item in newest_first]
        start = ids.index(wanted["after"]) + 1 if wanted.get("after") in ids else 0
        page = newest_first[start : start + int(wanted.get("limit") or _PAGE_DEFAULT)]
        first, last = (page[0]["id"], page[-1]["id"]) if page else (None, None)
        more = start + len(page) < len(items)
        self.send(200, {"object": "list", "data": page, "first_id": first, "last_id": last, "has_more": more})

    def send_content(self, stored: StoredFile) -> None:
        """Send a file's bytes from disk to the connection without touching them; a range when one is asked for."""
        offset = int((re.match(r"bytes=(\d+)-$", self.headers.get("range", "")) or [0, 0])[1])
        self.send_response(206 if offset else 200)
        self.send_header("content-type", "application/octet-stream")
        self.send_header("content-length", str(stored.size - offset))
        if offset:
            self.send_header("content-range", f"bytes {offset}-{stored.size - 1}/{stored.size}")
        self.end_headers()
        with stored.path.open("rb") as file:
            self.connection.sendfile(file, stored.start + offset, stored.size - offset)

    def refuse(self, status: int, message: str) -> None:
        """Send an error as the provider shapes it."""
        kind = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
        self.send(status, {"error": kind})


def find_file_part(path: Path, boundary: bytes) -> tuple[int, int, str, str]:
    """Find the part named ``file`` in a multipart body on disk; return its start, size, file name and the purpose."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body:
        purpose = re.search(rb'name="?purpose"?[^\r]*\r\n(?:[^\r]+\r\n)*\r\n([^\r]*)', body)
        part = re.search(rb'name="?file"?; filename="?([^"\r]*)"?[^\r]*\r\n(?:[^\r]+\r\n)*\r\n', body)
        if part is None or purpose is None:
            raise ValueError("an upload without a file or without a purpose")
        end = body.find(b"\r\n--" + boundary, part.end())
        return part.end(), end - part.end(), part[1].decode(), purpose[1].decode()


def main(directory: Path) -> None:
    """Serve until stopped."""
    Handler.world = World(directory)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        sys.stdout.write(f"http://127.0.0.1:{server.server_port}/v1\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
