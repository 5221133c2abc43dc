"""A scripted HTTP server on loopback."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Answer:
    """One answer: a status, a body (JSON unless bytes), headers."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Request:
    path: str
    query: dict[str, str]
    headers: dict[str, str]


Route = Callable[[Request], Answer]


class LocalServer:
    """Answers by path: a route is a function, or a list of answers of which the last repeats."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._routes: dict[str, Route | list[Answer]] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                answer = outer.answer(Request(parts.path, query, dict(self.headers)))
                raw = answer.body
                body = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def on(self, path: str, *answers: Answer) -> None:
        self._routes[path] = list(answers)

    def route(self, path: str, route: Route) -> None:
        self._routes[path] = route

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        route = self._routes.get(request.path)
        if route is None:
            return Answer(b"not found", 404)
        if isinstance(route, list):
            return route.pop(0) if len(route) > 1 else route[0]
        return route(request)

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
