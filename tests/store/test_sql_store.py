from banyan.store.sql_store import open_store
from banyan.store.types import StoredRequest


def test_a_request_can_begin() -> None:
    with open_store("sqlite://") as store:
        request = StoredRequest(endpoint="/v1/completions", task="chat", model_name="m", body={"prompt": "hi"})
        assert store.begin(request).result(timeout=5) == request.request_id
