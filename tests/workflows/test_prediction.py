"""What is answered on the command line is stored as it was drawn."""

from pathlib import Path

from banyan.infer.sampling import SamplingConfig
from banyan.runtime.loading import load
from banyan.store.queries import RequestFilter, StoreQueries
from banyan.store.sql_store import open_database
from banyan.testing.model_directories import save_tiny_model
from banyan.workflows.answer_records import AnswerRecorder
from banyan.workflows.prediction import predict_texts


def test_an_answer_can_be_drawn_again_from_what_is_stored_with_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/answers.db"
    asked = SamplingConfig(temperature=0.9, seed=7, max_tokens=6)
    with (
        load(save_tiny_model(tmp_path / "model")) as model,
        AnswerRecorder(model, endpoint="predict", database=url) as r,
    ):
        task = model.task_of_kind("dialogue").name
        predict_texts(model, task, ["hello", "hello"], sampling=asked, recorder=r)
        r.wait()
        database = open_database(url)
        stored = StoreQueries(database).newest(RequestFilter())
        database.close()
        assert len({exchange.request.seed for exchange in stored}) == 2
        for exchange in stored:
            assert exchange.answer is not None
            again = model.chat("hello", temperature=0.9, max_tokens=6, seed=exchange.request.seed)
            assert exchange.request.params["temperature"] == 0.9
            assert exchange.answer.outputs[0].text == again
