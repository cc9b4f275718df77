"""`banyan outputs replay ID`: a stored answer, given again and compared byte for byte."""

from __future__ import annotations

from pathlib import Path

from banyan.cli.output import emit, say
from banyan.core.errors import BanyanError, ConfigError
from banyan.runtime.loading import load
from banyan.serve.replay import Replay, Replayer, check_replayable
from banyan.store.database import Database
from banyan.store.queries import StoreQueries
from banyan.store.run_queries import checkpoints_of
from banyan.store.types import StoredExchange


def replay_output(
    database: Database,
    request_id: str,
    *,
    model: Path | None,
    base: Path | None,
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Give a stored answer again and say whether it is the same.

    Raises: BanyanError if it differs; what `Replayer.replay` raises if it cannot be asked again.
    """
    exchange = StoreQueries(database).show(request_id)
    directory = model or _model_of(database, exchange)
    with load(directory, device=device, base=base) as loaded, Replayer(loaded) as replayer:
        check_replayable(exchange, model_sha256=loaded.sha256)
        replay = replayer.replay(exchange)
    emit(_as_json(replay, directory), as_json=as_json, quiet=quiet, text=lambda: _tell(replay))
    if not replay.is_same:
        raise BanyanError(
            f"request {replay.request_id} was answered otherwise: {', '.join(replay.differences)}.",
            hint="answers are the same to the last bit in float32 on the kind of processor that gave them",
        )


def _model_of(database: Database, exchange: StoredExchange) -> Path:
    sha256 = exchange.request.model_sha256
    with database.read() as connection:
        places = checkpoints_of(connection, sha256)
    found = next((Path(place) for place in places if Path(place).is_dir()), None)
    if found is None:
        raise ConfigError(
            f"the model that answered, {exchange.request.model_name} ({sha256[:12]}), does not lie where it was saved.",
            hint=f"name its directory: banyan outputs replay {exchange.request.request_id} MODEL",
        )
    return found


def _as_json(replay: Replay, directory: Path) -> dict[str, object]:
    return {
        "id": replay.request_id,
        "model": str(directory),
        "outputs": replay.num_outputs,
        "same": replay.is_same,
        "differences": list(replay.differences),
    }


def _tell(replay: Replay) -> None:
    if replay.is_same:
        say(f"{replay.request_id}: the same answer, byte for byte ({replay.num_outputs} choices)")
