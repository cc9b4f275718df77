"""The figures are what Prometheus reads, count what happened, and hold nothing that a user wrote."""

from __future__ import annotations

import re

import httpx

from banyan.serve.metrics import Metrics
from banyan.store.keys import create_key
from banyan.testing.serving import RunningServer

SAMPLE = re.compile(r'banyan_[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+-]+')


def test_every_line_is_a_sample_or_a_comment_and_buckets_add_up() -> None:
    metrics = Metrics(clock=lambda: 5.0)
    for seconds in (0.001, 0.3, 0.3, 500):
        metrics.count_request(route="/v1/models", method="GET", status=200, seconds=seconds)
    metrics.count_tokens(prompt=10**9, completion=3)
    lines = metrics.render(requests_running=2).splitlines()
    assert all(line.startswith("# ") or SAMPLE.fullmatch(line) for line in lines)
    assert 'banyan_requests_total{route="/v1/models",method="GET",status="200"} 4' in lines
    assert 'banyan_tokens_total{kind="prompt"} 1000000000' in lines
    assert 'banyan_request_seconds_bucket{route="/v1/models",le="0.25"} 1' in lines
    assert 'banyan_request_seconds_bucket{route="/v1/models",le="+Inf"} 4' in lines
    assert 'banyan_request_seconds_count{route="/v1/models"} 4' in lines
    assert {"banyan_requests_running 2", "banyan_uptime_seconds 0"} <= set(lines)


def test_a_scraper_reads_counts_and_no_word_of_anybody(server: RunningServer, client: httpx.Client) -> None:
    canary = "canaryword"
    client.post("/v1/tasks/topic", json={"input": canary})
    client.get(f"/v1/{canary}")
    client.request("BREW", f"/{canary}")
    client.get(f"/v1/models/{canary}")
    assert client.get("/metrics").status_code == 403
    scraper = create_key(server.store.database, name="prometheus", scopes=("metrics",)).secret
    answer = httpx.get(f"{server.url}/metrics", headers={"Authorization": f"Bearer {scraper}"}, verify=False)
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert all(line.startswith("# ") or SAMPLE.fullmatch(line) for line in answer.text.splitlines())
    assert 'route="/v1/tasks/{name}",method="POST",status="200"' in answer.text
    assert 'route="/v1/models/{name}",method="GET",status="404"' in answer.text
    assert 'banyan_lookup_tokens_total{kind="guessed"} 0' in answer.text.splitlines()
    assert {"banyan_prompts_waiting 0", "banyan_store_refused_rows 0"} <= set(answer.text.splitlines())
    assert canary not in answer.text
