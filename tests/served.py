"""A web server on this machine with files of one's own, which can fail in the ways that servers do."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tasks.data.recipes.contract import Download, Recipe


@dataclass
class Server:
    """``files`` by name; the first ``broken`` answers stop half way; ``asked`` are the names and ranges asked for."""

    files: dict[str, bytes]
    address: str = ""
    broken: int = 0
    ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def download(self, name: str, *before: str, content: bytes | None = None) -> Download:
        """The Download of a file here, with addresses to try before and the checksum of ``content``, else its own."""
        md5 = hashlib.md5(self.files[name] if content is None else content).hexdigest()
        return Download(name, (*before, self.address + name), f"md5:{md5}")

    def recipe(self, recipe: Recipe) -> Recipe:
        """``recipe`` with its official files here, and whatever checksums they have."""
        way = tuple(self.download(download.name) for download in recipe.ways[0])
        return replace(recipe, ways=(way, *recipe.ways[1:]), sha256={})


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Server]:
    """A server of ``files`` while the block runs."""
    server = Server(files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, asked = self.path.lstrip("/"), self.headers.get("Range")
            server.asked.append((name, asked))
            if name not in server.files:
                self.send_error(404)
                return
            content = server.files[name]
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
            if start and start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            rest = content[start:]
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            if server.broken:
                server.broken -= 1
                rest = rest[: len(rest) // 2]
            self.wfile.write(rest)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.address = f"http://127.0.0.1:{http.server_address[1]}/"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:  # a thread that is left would poll a closed socket for ever
            http.shutdown()
            thread.join()
