"""Plain values from one rank to the others, as JSON: nothing that is received can run."""

from __future__ import annotations

import json
from typing import Any

import torch
import torch.distributed as dist


def broadcast_json(value: Any, *, src: int, group: dist.ProcessGroup | None = None) -> Any:
    """Return, on every rank, the value that rank `src` brings; a collective."""
    is_source = dist.get_rank() == src
    text = json.dumps(value).encode() if is_source else b""
    size = torch.tensor([len(text)])
    dist.broadcast(size, src=src, group=group)
    content = torch.frombuffer(bytearray(text), dtype=torch.uint8) if is_source else torch.empty(int(size)).byte()
    dist.broadcast(content, src=src, group=group)
    return json.loads(content.numpy().tobytes())
