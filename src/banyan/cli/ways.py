"""One verb that does several things: an option that belongs to another of them is refused, not ignored."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import typer

from banyan.core.errors import ConfigError


def refuse_options_of_other_ways(
    context: typer.Context, *, way: str, reads: Mapping[str, Collection[str]], hint: str
) -> None:
    """Make sure that the way which was chosen reads every option that was typed.

    `reads` names for each way the parameters that it reads; one that none of them names is read by all.
    Raises: ConfigError with the first option that would do nothing, and what it belongs to.
    """
    for parameter in context.command.params:
        readers = [other for other, names in reads.items() if parameter.name in names]
        if readers and way not in readers and _was_typed(context, parameter.name or ""):
            raise ConfigError(f"{parameter.opts[0]} belongs to {' or '.join(readers)}, not to {way}.", hint=hint)


def _was_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT")
