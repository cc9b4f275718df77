"""Task heads: small linear layers on the trunk, each answering one closed question.

A head may also add up rows of a table for the tokens and pairs that occur: what a linear model of words knows, which a
small trunk needs many examples to find out. Source: Cheng et al. 2016 (wide and deep).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from banyan.core.errors import ConfigError, UnknownNameError
from banyan.core.registry import did_you_mean
from banyan.core.types import HeadSpec
from banyan.model.linear import BareEmbedding, BareLinear
from banyan.model.matches import NUM_MATCH_FEATURES, match_features
from banyan.model.ngrams import ReadTokens, ngram_sums

EQUAL_SHARES = 0.5  # of a head's table, unless another was fitted


class TaskHeads(nn.Module):
    """The heads of one model, found by name. Kept as a list inside, so that a head may have any name."""

    def __init__(self, specs: Sequence[HeadSpec], *, embed_dim: int) -> None:
        super().__init__()
        self.specs = tuple(specs)
        self._index = {spec.name: index for index, spec in enumerate(self.specs)}
        if len(self._index) != len(self.specs):
            raise ConfigError(f"two heads share a name: {', '.join(spec.name for spec in self.specs)}.")
        for spec in self.specs:
            if spec.num_outputs < 1:
                raise ConfigError(f"head {spec.name!r} has no labels; a {spec.kind} head needs at least one.")
        self.layers = nn.ModuleList(HeadLayer(spec, embed_dim=embed_dim) for spec in self.specs)

    def __getitem__(self, name: str) -> HeadLayer:
        if name not in self._index:
            raise UnknownNameError(f"no head {name!r}{did_you_mean(name, self._index)}")
        layer = self.layers[self._index[name]]
        assert isinstance(layer, HeadLayer)
        return layer

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def logits(self, name: str, hidden_ND: Tensor, *, tokens: ReadTokens | None = None) -> Tensor:
        """Score what was read: the head's opinions, each with its share.

        Shapes: hidden (N, D); returns (N, num_outputs).
        Raises: UnknownNameError for a head this model does not have.
        """
        linear_NC, *table = self.opinions(name, hidden_ND, tokens=tokens)
        return torch.lerp(linear_NC, table[0], self[name].table_share) if table else linear_NC

    def opinions(self, name: str, hidden_ND: Tensor, *, tokens: ReadTokens | None = None) -> tuple[Tensor, ...]:
        """Score what was read by the linear layer, and by the table if the head has one; each learns as if alone.

        `tokens` are needed where there is a table, one example for each row of hidden states.
        Measured: taught by one loss of their sum, the table fits all examples before the trunk has learned from them:
        question types and Chinese titles are labelled worse (86.4 and 83.8 % right) than without a table (88.8 and
        85.2 %), but better as it is now (89.2 and 85.8 %; by hand, one seed, 250 and 500 test rows).
        Shapes: hidden (N, D); returns (N, num_outputs) each.
        Raises: UnknownNameError for a head this model does not have.
        """
        layer = self[name]
        logits_NC: Tensor = layer(hidden_ND)
        if not self.reads_tokens(name):
            return (logits_NC,)
        assert tokens is not None, f"head {name} reads tokens, too"
        return logits_NC, layer.of_tokens(tokens).to(logits_NC)

    def reads_tokens(self, name: str) -> bool:
        """Whether a head has a table, or looks for matches, and so needs the tokens of what it labels."""
        layer = self[name]
        return layer.ngrams is not None or layer.matches is not None

    def set_table_shares(self, shares: Mapping[str, float]) -> None:
        """Give tables their parts of the logits, by head; names of other heads are passed over."""
        for name in shares.keys() & self._index.keys():
            self[name].table_share = shares[name]

    def forget_ngrams(self) -> None:
        """Begin all tables anew at zero; tensors that another model shares stay as they are."""
        for spec in self.specs:
            if (table := self[spec.name].ngrams) is not None:
                table.weight = nn.Parameter(torch.zeros_like(table.weight))


class HeadLayer(BareLinear):
    """One head: a linear layer, and its table of n-grams if it has one.

    `table_share`, 0 to 1, is the table's part of the logits, the linear layer's is the rest. It is no weight: it stays
    as it is while a model learns, and is not saved with it; calibration fits it on examples that were held out.
    """

    def __init__(self, spec: HeadSpec, *, embed_dim: int) -> None:
        super().__init__(embed_dim, spec.num_outputs)
        self.table_share = EQUAL_SHARES
        self.ngrams = BareEmbedding(spec.ngram_buckets, spec.num_outputs) if spec.ngram_buckets else None
        self.matches = BareLinear(NUM_MATCH_FEATURES, spec.num_outputs) if spec.reads_matches else None

    def of_tokens(self, tokens: ReadTokens) -> Tensor:
        """Score the tokens alone, without the trunk: texts by their n-grams, positions by what comes again there."""
        if self.ngrams is not None:
            return ngram_sums(self.ngrams.weight, tokens)
        assert self.matches is not None
        features_PF: Tensor = match_features(tokens).to(self.matches.weight)
        scores_PC: Tensor = self.matches(features_PF)
        return scores_PC
