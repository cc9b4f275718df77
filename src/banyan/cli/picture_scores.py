"""What `banyan evaluate --images` and the training of a judge say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from banyan import __version__
from banyan.cli.output import JsonOption, QuietOption, console, emit, print_table, say, to_plain
from banyan.cli.progress import TerminalReporter
from banyan.cli.sampling import (
    GuidanceOption,
    GuidancePowerOption,
    SeedOption,
    TemperatureOption,
    TopKOption,
    TopPOption,
    changed,
)
from banyan.core.errors import ConfigError
from banyan.core.paths import default_database_url, runs_directory
from banyan.runtime.loading import load
from banyan.workflows.picture_judging import JUDGE_FILE, SavedJudge, load_judge, read_judge_recipe, train_judge_of
from banyan.workflows.picture_records import record_picture_scores
from banyan.workflows.picture_scores import SLOTS, PictureScores, score_pictures, warning_of_copies
from banyan.workflows.picture_sheets import keep_report
from banyan.workflows.real_pictures import told_of_real

IMAGES = "--images"

_WEAK = 0.5  # accuracy of a judge on held-out real pictures

app = typer.Typer(add_completion=False)

_WORDS = (
    ("FID (in the judge's features)", "likeness.fid"),
    ("  floor: other real pictures", "likeness.floor"),
    ("  through the image tokenizer and back", "likeness.reconstructed"),
    ("  every code drawn by itself", "likeness.unigram"),
    ("  (FID - floor) / (unigram - floor)", "fid_share"),
    ("image tokenizer on held-out pictures, dB", "reconstruction.psnr"),
    ("  share of its codes that occur", "reconstruction.code_use"),
    ("  part of the judge's accuracy that is left", "reconstruction.kept"),
    ("prompt fidelity, one candidate", "fidelity"),
    ("  the judge on real pictures", "judge_accuracy"),
    ("  held-out pictures that the judge was trained on", "known_to_judge"),
    ("accuracy score: trained on drawn, tested on real", "accuracy_score.drawn"),
    ("  trained on as many real ones", "accuracy_score.real"),
    ("precision", "likeness.precision"),
    ("recall", "likeness.recall"),
    ("nearer to a learned picture than 99 % of real ones", "copied_share"),
    ("own picture among the 5 nearest, wishes of training", "retrieval_seen.top5"),
    ("  of how many", "retrieval_seen.num_pictures"),
    ("own picture among the 5 nearest, unseen wishes", "retrieval_unseen.top5"),
    ("  of how many", "retrieval_unseen.num_pictures"),
    ("bits per code", "bits_per_code"),
    ("  every code by itself", "bits_per_code_unigram"),
    ("pictures per second", "pictures_per_second"),
)


@app.command(name="evaluate")
def images_command(
    model: Annotated[Path, typer.Argument(help="A model directory that draws.")],
    images: Annotated[bool, typer.Option(IMAGES, help="Measure drawn pictures.")] = True,
    judge: Annotated[
        Path | None, typer.Option(help="The frozen net that judges: its file, or the folder of its run.")
    ] = None,
    num: Annotated[int, typer.Option("--num", "--n", min=8, help="Pictures drawn, one for each wish.")] = 10_000,
    guidance: GuidanceOption = None,
    guidance_power: GuidancePowerOption = None,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    seed: SeedOption = None,
    database: Annotated[str | None, typer.Option(help="Database URL; the figures are recorded there.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "--out", "-o", help="A folder for the figures and sheets of pictures.")
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure what a model draws, offline: likeness, fidelity, diversity, copies; every figure with its anchors.

    Example: banyan evaluate runs/pictures-cifar10/best --images --judge runs/judge-cifar10
    """
    if judge is None:
        raise ConfigError(
            "--images needs --judge: the frozen net whose features are compared.",
            hint="train one on the model's pictures: banyan train recipes/picture-judge.yaml (CIFAR-10) or "
            "recipes/picture-judge-own-folder.yaml; then --judge runs/judge-cifar10 or runs/judge-own-folder",
        )
    known = load_judge(judge)
    with TerminalReporter(console(quiet=quiet, as_json=as_json)) as reporter, load(model, num_slots=SLOTS) as loaded:
        sampling = changed(
            loaded.sampling_for(loaded.task_of_kind("image_generation").name),
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            guidance_scale=guidance,
            guidance_power=guidance_power,
        )
        report = score_pictures(loaded, known, num=num, seed=seed or 0, sampling=sampling, reporter=reporter)
        record_picture_scores(loaded, report.scores, database=database or default_database_url())
    plain = {"model": str(model), "banyan": __version__, "images": to_plain(report.scores)}
    if output is not None:
        keep_report(report, plain, output)
    emit(plain, as_json=as_json, quiet=quiet, text=lambda: _tell(report.scores, output))


def _tell(scores: PictureScores, output: Path | None) -> None:
    print_table(("", "figure"), [(words, _figure(scores, name)) for words, name in _WORDS])
    for name, reason in scores.unmeasured.items():
        words = next(words for words, place in _WORDS if place.partition(".")[0] == name)
        say(f"not measured: {words.strip()}, for {reason}")
    if warning := warning_of_copies(scores.copied_share):
        say(warning)
    how = f"guidance {scores.sampling.guidance_scale:g}, power {scores.sampling.guidance_power:g}"
    say(f"{scores.num_pictures} pictures, seed {scores.seed}, {how}, judge {scores.judge_sha256[:16]}")
    say(told_of_real(scores.num_real, are_held_out=scores.real_held_out))
    if output is not None:
        say(f"sheets: {output}/seen-drawn.png, beside them -real.png and the training pictures that look most alike")


def _figure(scores: PictureScores, name: str) -> Any:
    found: Any = scores
    for part in name.split("."):
        found = None if found is None else getattr(found, part)
    return found


def run_judge_training(recipe: Path, overrides: Sequence[str], *, as_json: bool, quiet: bool) -> int:
    """Train the judge a recipe describes and say how good it is.

    Raises: as `train_judge_of`.
    """
    settled = read_judge_recipe(recipe, overrides=overrides)
    with TerminalReporter(console(quiet=quiet, as_json=as_json)) as reporter:
        judge = train_judge_of(settled, reporter=reporter)
    directory = runs_directory() / settled.name
    place = str(directory / JUDGE_FILE)
    plain = {"judge": settled.name, "file": place, "sha256": judge.sha256, **to_plain(judge.description)}
    emit(plain, as_json=as_json, quiet=quiet, text=lambda: _tell_judge(judge, directory))
    return 0


def _tell_judge(judge: SavedJudge, directory: Path) -> None:
    known = judge.description
    found = "" if known.accuracy is None else f"; right on {known.accuracy:.2%} of {known.num_held_out} held-out ones"
    say(f"a judge of {len(known.labels)} labels, from {known.num_pictures} pictures{found}")
    if known.accuracy is not None and known.accuracy < _WEAK:
        say("it is wrong more often than right, so its figures will mean little: raise training.min_steps")
    say(f"{directory / JUDGE_FILE}  sha256 {judge.sha256}")
    say(f"next: banyan evaluate MODEL {IMAGES} --judge {directory}, with MODEL the one that draws such pictures")
