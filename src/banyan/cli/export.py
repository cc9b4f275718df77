"""`banyan export`: a model for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from banyan.cli.output import JsonOption, QuietOption, console, emit, say
from banyan.cli.progress import TerminalReporter
from banyan.core.files import shown_bytes
from banyan.workflows.exporting import ExportReport, export_model

app = typer.Typer(add_completion=False)


@app.command(name="export")
def export_command(
    model: Annotated[Path, typer.Argument(help="A model directory.")],
    directory: Annotated[Path, typer.Argument(help="A new folder.")],
    format: Annotated[
        str, typer.Option(help="hf: for transformers, vLLM and others; gguf: for llama.cpp and what is built on it.")
    ] = "hf",
    weight_type: Annotated[
        str | None,
        typer.Option("--type", help="f32, f16, bf16, or q8_0 (gguf). hf keeps what is stored, gguf writes f16."),
    ] = None,
    merge: Annotated[Path | None, typer.Option(help="An adapter of the model, merged into what is written.")] = None,
    licence: Annotated[
        str | None, typer.Option("--license", help="Licence the weights are given under, for example apache-2.0.")
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a model so that other tools open it as it is, with a card (README.md) that says what it is.

    Example: banyan export runs/demo/best demo-gguf --format gguf --type q8_0
    """
    with TerminalReporter(console(quiet=quiet, as_json=as_json)) as reporter:
        report = export_model(
            model,
            directory,
            format=format,
            weight_type=weight_type,
            licence=licence,
            adapter=merge,
            reporter=reporter,
        )
    emit(report, as_json=as_json, quiet=quiet, text=lambda: tell(report))


def tell(report: ExportReport) -> None:
    """Say what was written, and what stayed behind."""
    size = shown_bytes(sum(report.files.values()))
    say(
        f"{report.directory}: {report.architecture}, {report.num_parameters:,} parameters in {report.weight_type}, "
        f"{size} in {len(report.files)} files"
    )
    if report.left_behind:
        say(f"stays behind: {'; '.join(report.left_behind)}")
    for remark in report.remarks:
        say(remark)
