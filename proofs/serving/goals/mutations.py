"""Valid HTTP requests, and what becomes of them when somebody damages them with intent; by number."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

_MAX_BYTES = 400_000  # of one damaged request
Harm = Callable[[bytes, random.Random], bytes]

_TEXTS = ("the banyan grows", "独木成林", "a" * 300, "<|user|>", "🌳", "\u202e", "x\n\n")
_TARGETS = (
    b"/", b"*", b"//", b"/v1/../admin/keys", b"/%2e%2e/%2e%2e/etc/passwd", b"/v1/models/%00", b"/v1/outputs?limit=%FF",
    b"/v1/outputs?q=%00", b"http://169.254.169.254/latest", b"/v1/tasks/" + b"a" * 9_000, b"/v1/models/" + b"%F0" * 99,
    b"/assets/../../../etc/passwd", b"/assets/%2e%2e%2f%2e%2e%2fapp.py", b"/v1/runs/..%2f..", b"/v1/runs/%27%20OR%201",
    b"/v1/outputs?limit=1&limit=2", b"/v1/outputs?before=" + b"0" * 26, b"?", b"#", b"\xff\xfe", b"/v1/completions/",
    b"/v1/models;x=1", b"/readyz\x00", b"/livez HTTP/1.1 HTTP/1.1", b"127.0.0.1:22",
)  # fmt: skip
_LINES = (
    b"Content-Length: 0", b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Content-Length: 1e3",
    b"Content-Length: 5, 6", b"Content-Length: +5", b"Content-Length : 5", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding: identity",
    b"Expect: 100-continue", b"Expect: \xff", b"Upgrade: websocket\r\nConnection: Upgrade", b"Connection: close",
    b"Connection: keep-alive, Upgrade, \x00", b"Host: a\r\nHost: b", b"Host:", b"X: " + b"y" * 40_000,
    b"Authorization: Bearer ", b"Authorization: Basic Og==", b"Cookie: " + b";".join([b"a=b"] * 200),
    b"Content-Type: text/plain", b"Content-Type: application/json; charset=utf-7", b"Content-Type: multipart/form-data",
    b"Content-Encoding: gzip", b"Range: bytes=0-", b"X-Forwarded-For: 127.0.0.1", b"Idempotency-Key: " + b"k" * 3_000,
    b"Idempotency-Key: \xe2\x82\xac", b"X-Client-Request-Id: \t", b" folded: yes", b"\tX: y", b":", b"No colon",
    b"X\x00Y: z", b"X: a\rb", b"X: \x1b[31m", b"\xc3\x9c: 1", b"Origin: http://evil.example", b"TE: trailers",
)  # fmt: skip
_VALUES = (
    b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b"-Infinity", b"9" * 400, b"1.5", b'""', b'"\\u0000"',
    b'"\\ud800"', b'"\xff"', b"[]", b"{}", b"[" * 5_000, b'{"a":' * 60, b'"' + b"x" * 70_000 + b'"', b"[0,[1,[2]]]",
    b"2147483648", b"9223372036854775808", b'"\\u003c|user|\\u003e"', b"0.0000001", b"-0", b"/**/1",
)  # fmt: skip
_WHOLE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(30),
    b"\r\n\r\n\r\n",
    b"GET / HTTP/0.9\r\n\r\n",
    b"GET /\r\n\r\n",
    b"\x05\x01\x00",
    b"{}",
    b"",
)


def mutated(seeds: Sequence[bytes], number: int) -> bytes:
    """Return the damaged request of a number, made from one of some valid ones."""
    chance = random.Random(number)
    data = chance.choice(seeds)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        data = chance.choice(_HARMS)(data, chance)[:_MAX_BYTES]
    return data


def valid_requests(key: str, *, tasks: Sequence[str], model: str) -> list[bytes]:
    """Return a request to every kind of route, as a client would write it."""
    limits = {"model": model, "max_tokens": 4}
    asked = [
        ("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": text}], **limits}) for text in _TEXTS
    ]
    told = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    asked += [
        ("POST", "/v1/chat/completions", {"messages": told, "stream": True, "seed": 5, "top_p": 0.9, **limits}),
        ("POST", "/v1/chat/completions", {"messages": told, "logprobs": True, "top_logprobs": 3, "n": 2, **limits}),
        ("POST", "/v1/chat/completions", {"messages": told, "response_format": {"type": "json_object"}, **limits}),
        ("POST", "/v1/completions", {"prompt": ["a", "b"], "stop": ["x"], "temperature": 1.2, **limits}),
        ("POST", "/v1/completions", {"prompt": [5, 6, 7], "logit_bias": {"5": -3}, "stream": True, **limits}),
        ("POST", "/v1/embeddings", {"model": model, "input": ["a", "b"], "encoding_format": "base64"}),
        ("POST", "/v1/images/generations", {"prompt": "a seven", "n": 1, "guidance_scale": 2.5}),
        ("POST", "/tokenize", {"prompt": "text"}),
        ("POST", "/tokenize", {"messages": told}),
        ("POST", "/detokenize", {"tokens": [1, 2, 3]}),
        ("POST", "/v1/feedback", {"id": "0" * 26, "rating": 1, "comment": "good"}),
        ("POST", "/admin/keys", {"name": "made by chance", "scopes": ["infer"], "limits": {"requests_per_minute": 5}}),
        ("POST", "/admin/models", {"name": "x", "directory": "none/such"}),
    ]
    asked += [("POST", f"/v1/tasks/{task}", {"input": _TEXTS[n % 4], "max_tokens": 4}) for n, task in enumerate(tasks)]
    read = ("/livez", "/readyz", "/", "/openapi.json", "/metrics", "/v1/models", "/v1/tasks", "/v1/outputs?limit=2")
    more = ("/v1/runs", f"/v1/models/{model}", f"/v1/outputs/{'0' * 26}", "/admin/keys", "/admin/models")
    return [
        *(_request(method, path, key, body=body) for method, path, body in asked),
        *(_request("GET", path, key) for path in (*read, *more)),
        _request("DELETE", f"/v1/outputs/{'0' * 26}", key),
        *(_chunked(_request(*request[:2], key, body=request[2])) for request in asked[:3]),
    ]


def _request(method: str, path: str, key: str, *, body: dict[str, Any] | None = None) -> bytes:
    content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {key}", "Accept: */*"]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


def _chunked(request: bytes) -> bytes:
    head, _, body = request.partition(b"\r\n\r\n")
    head = re.sub(rb"Content-Length: \d+", b"Transfer-Encoding: chunked", head)
    pieces = [body[at : at + 40] for at in range(0, len(body), 40)]
    return head + b"\r\n\r\n" + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


# ------------------------------------------------------------------------------- harms to any bytes


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data or b"x")
    for _ in range(chance.choice((1, 1, 3, 20))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _take_out(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + data[at + chance.choice((1, 2, 10, 100)) :]


def _put_in(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    given = (b"\x00", b"\r\n", b"\n", b"\r", b" ", b"\xff", b"\xf0\x9f", b'"', b"\\", b"\x1b[2J", chance.randbytes(9))
    return data[:at] + chance.choice(given) * chance.choice((1, 1, 2, 50)) + data[at:]


def _repeat(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + data[at : at + chance.choice((3, 30, 300))] * chance.choice((2, 3, 40)) + data[at:]


def _follow(data: bytes, chance: random.Random) -> bytes:
    """Send a second request, or its beginning, right behind."""
    return data + data[: chance.choice((len(data), chance.randrange(len(data) + 1)))]


def _replace_all(_: bytes, chance: random.Random) -> bytes:
    return chance.choice((*_WHOLE, chance.randbytes(chance.randrange(1, 2_000))))


# ------------------------------------------------------------------------------- harms to the head


def _other_method(data: bytes, chance: random.Random) -> bytes:
    methods = (
        b"HEAD",
        b"PUT",
        b"TRACE",
        b"OPTIONS",
        b"CONNECT",
        b"get",
        b"DELETE",
        b"PATCH",
        b"X" * 300,
        b"G\x00",
        b"",
    )
    return chance.choice(methods) + b" " + data.partition(b" ")[2]


def _other_target(data: bytes, chance: random.Random) -> bytes:
    method, _, rest = data.partition(b" ")
    return b" ".join((method, chance.choice(_TARGETS), rest.partition(b" ")[2]))


def _other_version(data: bytes, chance: random.Random) -> bytes:
    versions = (b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/1.10", b"HTTP/", b"http/1.1", b"HTTP/1.1 ", b"SSH-2.0")
    return data.replace(b"HTTP/1.1", chance.choice(versions), 1)


def _more_lines(data: bytes, chance: random.Random) -> bytes:
    first, _, rest = data.partition(b"\r\n")
    lines = [chance.choice(_LINES)] * chance.choice((1, 1, 1, 2, 150))
    return b"\r\n".join((first, *lines, rest))


def _without_a_line(data: bytes, chance: random.Random) -> bytes:
    lines = data.split(b"\r\n")
    del lines[chance.randrange(len(lines))]
    return b"\r\n".join(lines)


def _moved_lines(data: bytes, chance: random.Random) -> bytes:
    lines = data.split(b"\r\n")
    chance.shuffle(lines)
    return b"\r\n".join(lines)


def _bare_ends(data: bytes, chance: random.Random) -> bytes:
    return data.replace(b"\r\n", chance.choice((b"\n", b"\r", b"\n\r", b"\r\r\n")), chance.choice((1, 3, -1)))


# ------------------------------------------------------------------------------- harms to the body


def _other_value(data: bytes, chance: random.Random) -> bytes:
    """Put another value in the place of one in the JSON, and let the length be right."""
    head, blank, body = data.partition(b"\r\n\r\n")
    places = list(re.finditer(rb'(?<=: )("[^"]*"|[\d.]+|true|\[[^\]]*\]|\{[^}]*\})', body))
    if not places:
        return data
    place = chance.choice(places)
    body = body[: place.start()] + chance.choice(_VALUES) + body[place.end() :]
    return re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head) + blank + body


def _other_length(data: bytes, chance: random.Random) -> bytes:
    lengths = (b"0", b"1", b"100000", b"1048577", b"18446744073709551616", b"-5", b"0x10", b"", b"9" * 30)
    return re.sub(rb"Content-Length: \d+", b"Content-Length: " + chance.choice(lengths), data)


def _broken_chunks(data: bytes, chance: random.Random) -> bytes:
    data = _chunked(data) if b"Content-Length" in data else data
    sizes = (b"-1", b"ffffffffffffffffff", b"0x5", b"5;ext=" + b"a" * 200, b"", b"zz", b"0", b"5 ")
    return re.sub(rb"\r\n[0-9a-f]+\r\n", b"\r\n" + chance.choice(sizes) + b"\r\n", data, count=1)


_HARMS: tuple[Harm, ...] = (
    _flip, _flip, _cut, _take_out, _put_in, _put_in, _repeat, _follow, _replace_all, _other_method, _other_target,
    _other_target, _other_version, _more_lines, _more_lines, _more_lines, _without_a_line, _moved_lines, _bare_ends,
    _other_value, _other_value, _other_value, _other_value, _other_length, _broken_chunks,
)  # fmt: skip
