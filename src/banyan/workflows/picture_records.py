"""The figures of drawn pictures in the database, each with the hash of the judge it was measured by."""

from __future__ import annotations

from banyan import __version__
from banyan.core.config import config_to_mapping
from banyan.core.model_directory import name_of
from banyan.runtime.loaded_model import LoadedModel
from banyan.store.sql_store import open_store
from banyan.store.types import StoredEvaluation
from banyan.workflows.picture_scores import PictureScores


def record_picture_scores(model: LoadedModel, scores: PictureScores, *, database: str) -> None:
    """Write every figure that there is and wait until it is committed.

    Raises: StoreError if it cannot be written.
    """
    how = {
        "judge_sha256": scores.judge_sha256,
        "sampling": config_to_mapping(scores.sampling),
        "num_real": scores.num_real,
        "real_held_out": scores.real_held_out,
    }
    store = open_store(database)
    try:
        written = [
            store.runs.record_evaluation(
                StoredEvaluation(
                    model_name=name_of(model.directory),
                    model_sha256=model.sha256,
                    dataset=model.description.dataset_fingerprint or "",
                    metric=metric,
                    value=value,
                    task=model.task_of_kind("image_generation").name,
                    num_examples=scores.num_pictures,
                    config=how,
                    seed=scores.seed,
                    code_version=__version__,
                )
            )
            for metric, value in figures_of(scores).items()
        ]
        for future in written:
            future.result()
    finally:
        store.close()


def figures_of(scores: PictureScores) -> dict[str, float]:
    """Return the figures by name, those that could not be measured left out."""
    like, accuracy, back = scores.likeness, scores.accuracy_score, scores.reconstruction
    found = {
        "fid": like.fid,
        "fid_floor": like.floor,
        "fid_reconstructed": like.reconstructed,
        "fid_unigram": like.unigram,
        "fid_share": scores.fid_share,
        "precision": like.precision,
        "recall": like.recall,
        "psnr": None if back is None else back.psnr,
        "code_use": None if back is None else back.code_use,
        "kept_accuracy": None if back is None else back.kept,
        "fidelity": scores.fidelity,
        "judge_accuracy": scores.judge_accuracy,
        "accuracy_score": None if accuracy is None else accuracy.drawn,
        "accuracy_score_real": None if accuracy is None else accuracy.real,
        "copied_share": scores.copied_share,
        "retrieval_seen": scores.retrieval_seen.top5,
        "retrieval_unseen": None if scores.retrieval_unseen is None else scores.retrieval_unseen.top5,
        "bits_per_code": scores.bits_per_code,
        "bits_per_code_unigram": scores.bits_per_code_unigram,
    }
    return {metric: value for metric, value in found.items() if value is not None}
