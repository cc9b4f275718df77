"""`banyan serve MODEL`: an HTTP server with the OpenAI routes, every task, and a page to try it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from banyan.cli.output import say
from banyan.cli.sampling import LookupOption
from banyan.core.errors import ConfigError
from banyan.core.paths import default_database_url
from banyan.serve.model_choice import PREFIX_CACHE_MIB, ModelChoice
from banyan.serve.server import Started, TlsFiles, serve
from banyan.store.retention import RetentionPolicy
from banyan.store.times import parse_age

app = typer.Typer(add_completion=False)

Host = Annotated[str, typer.Option(help="Address to listen on; others than this machine need keys and TLS.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")]
Database = Annotated[str | None, typer.Option(help="Database URL; every request and answer is stored there.")]
NoAuth = Annotated[bool, typer.Option("--no-auth", help="Ask for no key; only on this machine's own address.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Listen on other addresses without TLS.")]
Certificate = Annotated[Path | None, typer.Option(help="TLS certificate (PEM).")]
CertificateKey = Annotated[Path | None, typer.Option(help="TLS key (PEM).")]
Name = Annotated[str | None, typer.Option(help="The model's name in the API; its folder's name if not given.")]
Adapters = Annotated[
    list[str] | None, typer.Option(help="name=DIR: an adapter to answer under, too; may be given many times.")
]
Base = Annotated[
    Path | None, typer.Option(help="Where the model of an adapter lies, if MODEL is one and that has moved.")
]
Others = Annotated[
    list[str] | None, typer.Option(help="name=DIR: a model beside the first one; may be given many times.")
]
Slots = Annotated[int, typer.Option(min=1, help="Answers written at once.")]
PrefixCacheMib = Annotated[
    int, typer.Option(min=0, help="Memory of each model for beginnings of prompts; 0: none are remembered.")
]
MaxHeldTokens = Annotated[
    int | None, typer.Option(min=1, help="Tokens of all answers in the making; beyond it the youngest wait.")
]
ModelRoot = Annotated[
    Path | None, typer.Option(help="Folder whose models an admin key may open over HTTP; if not given: none.")
]
KeepContent = Annotated[
    str | None, typer.Option(help="Erase what was asked and answered after 30d, 12w …; if not given: never.")
]
KeepFacts = Annotated[
    str | None, typer.Option(help="Delete the rest of requests, too, after 365d …; if not given: never.")
]


@app.command(name="serve")
def serve_command(
    model: Annotated[Path, typer.Argument(help="A model directory, for example runs/demo/best")],
    host: Host = "127.0.0.1",
    port: Port = 8000,
    database: Database = None,
    no_auth: NoAuth = False,
    insecure: Insecure = False,
    ssl_certfile: Certificate = None,
    ssl_keyfile: CertificateKey = None,
    name: Name = None,
    adapter: Adapters = None,
    base: Base = None,
    also: Others = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    slots: Slots = 16,
    prefix_cache_mib: PrefixCacheMib = PREFIX_CACHE_MIB,
    max_held_tokens: MaxHeldTokens = None,
    prompt_lookup: LookupOption = 0,
    model_root: ModelRoot = None,
    keep_content: KeepContent = None,
    keep_facts: KeepFacts = None,
) -> None:
    """Serve a model until Ctrl-C. The first start prints a key, once; SIGHUP opens the models anew.

    Example: banyan serve runs/demo/best --port 8000 --adapter reviews=runs/reviews/best
    """
    models = ModelChoice(
        directory=model,
        name=name,
        adapters=_named_folders(adapter or [], option="--adapter"),
        others=_named_folders(also or [], option="--also"),
        base=base,
        device=device,
        num_slots=slots,
        prefix_cache_bytes=prefix_cache_mib << 20,
        max_held_tokens=max_held_tokens,
        max_lookup_tokens=prompt_lookup,
        root=model_root,
    )
    serve(
        models,
        host=host,
        port=port,
        database=database or default_database_url(),
        no_auth=no_auth,
        insecure=insecure,
        tls=_tls_files(ssl_certfile, ssl_keyfile),
        retention=RetentionPolicy(content_seconds=parse_age(keep_content), facts_seconds=parse_age(keep_facts)),
        on_start=announce,
    )


def _tls_files(certificate: Path | None, key: Path | None) -> TlsFiles | None:
    """Return the files of TLS, if there are any.

    Raises: ConfigError for one without the other.
    """
    if (certificate is None) != (key is None):
        raise ConfigError("--ssl-certfile and --ssl-keyfile belong together; give both.")
    return TlsFiles(certificate=certificate, key=key) if certificate and key else None


def _named_folders(given: list[str], *, option: str) -> dict[str, Path]:
    """Return the folders of `name=DIR` by their names.

    Raises: ConfigError for another form, or a name given twice.
    """
    folders: dict[str, Path] = {}
    for item in given:
        name, equals, folder = item.partition("=")
        if not (name and equals and folder):
            raise ConfigError(
                f"{option} {item[:200]} is not of the form name=DIR; for example reviews=runs/reviews/best."
            )
        if name in folders:
            raise ConfigError(f"{option} {name} is given twice; each needs a name of its own.")
        folders[name] = Path(folder)
    return folders


def announce(started: Started) -> None:
    """Say where the server is and, on the first start, the key that opens it."""
    say(f"serving {started.model_name} at {started.url}   (Ctrl-C stops)")
    if started.first_key is not None:
        say(f"key: {started.first_key}   (shown once; more with: banyan keys create)")
