"""The one Transformer: embedding, blocks, final norm, and the logits of words, pictures and heads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from banyan.core.errors import ConfigError, ShapeError
from banyan.core.types import HeadSpec
from banyan.model.adapters import Adapters
from banyan.model.block import Block
from banyan.model.cache_spans import AnyPass, CacheSpans
from banyan.model.config import ModelConfig
from banyan.model.dropout import position_keys
from banyan.model.embedding_noise import add_noise
from banyan.model.heads import TaskHeads
from banyan.model.initialisation import init_weights
from banyan.model.kv_cache import CacheRows
from banyan.model.linear import BareEmbedding, BareLinear, Product
from banyan.model.lookback import Lookback
from banyan.model.low_rank import adapter_key
from banyan.model.ngrams import ReadTokens
from banyan.model.norm import build_norm
from banyan.model.pass_planner import PassPlanner


class Transformer(nn.Module):
    """A decoder-only Transformer over one id space: text | special | image.

    Fresh weights come from a fixed seed; `init_weights` draws others.
    """

    output_product: Product = staticmethod(F.linear)  # of the words' and image codes' logits

    def __init__(self, config: ModelConfig, heads: Sequence[HeadSpec] = ()) -> None:
        super().__init__()
        self.config = config
        device = torch.get_default_device()
        # On the meta device nothing is held twice before the weights are drawn, or read from a file.
        with torch.device("meta"):
            self._build(config, heads)
        if device.type != "meta":
            self.to_empty(device=device)
            self.init_weights(torch.Generator().manual_seed(0))

    def _build(self, config: ModelConfig, heads: Sequence[HeadSpec]) -> None:
        self.embedding = BareEmbedding(config.vocab_size, config.embed_dim)
        has_positions = config.position == "learned"
        self.position_embedding = BareEmbedding(config.max_seq_len, config.embed_dim) if has_positions else None
        self.lookback = Lookback(config) if config.lookback else None
        self.grid_embedding = BareEmbedding(config.num_grid_cells, config.embed_dim) if config.grid_size else None
        self.blocks = nn.ModuleList(Block(config, layer=layer) for layer in range(config.num_layers))
        self.final_norm = build_norm(config)
        is_tied = config.tie_embeddings
        self.word_head = None if is_tied else BareLinear(config.embed_dim, config.vocab_size, bias=False)
        self.heads = TaskHeads(heads, embed_dim=config.embed_dim)
        self.adapters = Adapters()
        self.planner = PassPlanner(config)

    @property
    def head_specs(self) -> tuple[HeadSpec, ...]:
        """The task heads this model has."""
        return self.heads.specs

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the weights."""
        return self.embedding.weight.dtype

    def init_weights(self, generator: torch.Generator) -> None:
        """Draw all weights anew; the same generator gives the same weights on every device."""
        init_weights(self, generator=generator)

    def forward(
        self,
        token_ids_BT: Tensor,
        *,
        position_ids_BT: Tensor | None = None,
        segment_ids_BT: Tensor | None = None,
        attend_until_BT: Tensor | None = None,
        grid_ids_BT: Tensor | None = None,
        noise_seeds_B: Tensor | None = None,
        noise_strength: float = 0.0,
        cache: CacheRows | CacheSpans | None = None,
        num_blocks: int | None = None,
        adapters_B: Sequence[str | None] | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Return the hidden state of every position, after the final norm.

        Shapes: all arguments (B, T) or (B,), int64; returns (B, T, D).
        `position_ids` default to 0, 1, 2 …; a cache counts on from what each slot holds, and there `attend_until`
        counts in positions of the slot. `segment_ids` keep packed examples apart (-1: padding). A query t reads keys
        up to max(t, attend_until[t]) of its segment. `grid_ids` name the picture cell a position predicts, or NO_GRID.
        While it learns, dropout follows from `noise_seeds`, one per row; without them PyTorch's generator draws some.
        So does the noise on the embeddings, where it has a strength.
        `num_blocks` stops after so many blocks, 0 at the embeddings; the final norm stands after all of them only.
        `adapters` name the one that each row goes through, or with spans each token; None: the active one, if any.
        `is_causal` says that the ids leave every position itself and all before it; on a GPU nobody looks for that.
        Raises: ContextLengthError if the tokens do not fit into max_seq_len; ShapeError if a cache is given together
        with positions or segments, for each of its slots counts for itself and holds one segment, or with a number of
        blocks, for it would lack the keys of the others; ConfigError for a number of blocks the model does not have.
        """
        if num_blocks is not None:
            self._check_num_blocks(num_blocks, has_cache=cache is not None)
        given = (token_ids_BT, position_ids_BT, segment_ids_BT, attend_until_BT)
        position_ids_BT, plan = self.planner.plan(*given, cache=cache, dtype=self.dtype, is_causal=is_causal)
        x_BTD = self.embed(token_ids_BT, position_ids_BT, grid_ids_BT, cache=plan.cache)
        noise_keys_BT = self.noise_keys(token_ids_BT.shape, noise_seeds_B, is_noisy=noise_strength > 0)
        if noise_strength and noise_keys_BT is not None:
            x_BTD = add_noise(x_BTD, noise_keys_BT, segment_ids_BT, strength=noise_strength)
        plan = self.adapters.join(plan, adapters_B, x_BTD=x_BTD, noise_keys_BT=noise_keys_BT)
        block_keys_BT = noise_keys_BT if self.config.dropout else None
        for block in self.blocks if num_blocks is None else self.blocks[:num_blocks]:
            x_BTD = block(x_BTD, plan, block_keys_BT)
        if plan.cache is not None:
            plan.cache.finish()
        is_whole = num_blocks is None or num_blocks == self.config.num_layers
        return self.final_norm(x_BTD) if is_whole else x_BTD

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """Score every text and special id as the next token.

        Shapes: hidden (..., D); returns (..., text_vocab_size).
        """
        return self._word_logits(hidden_ND, self.output_weight()[: self.config.text_vocab_size])

    def image_logits(self, hidden_ND: Tensor) -> Tensor:
        """Score every image code as the next one.

        Shapes: hidden (..., D); returns (..., num_image_codes).
        """
        return self._word_logits(hidden_ND, self.output_weight()[self.config.text_vocab_size :])

    def head_logits(
        self, name: str, hidden_ND: Tensor, *, adapter: str | None = None, tokens: ReadTokens | None = None
    ) -> Tensor:
        """Score the labels of one task head: the model's own, or one that an adapter has brought.

        Shapes: hidden (..., D); returns (..., num_outputs).
        """
        return self.heads_under(adapter).logits(name, hidden_ND, tokens=tokens)

    def heads_under(self, adapter: str | None) -> TaskHeads:
        """Return the task heads that answer under an adapter; None: the model's own."""
        brought = None if adapter is None else self.adapters[adapter].heads
        return self.heads if brought is None else brought

    def output_weight(self) -> Tensor:
        """Return the rows that words and image codes are scored with, (V, D)."""
        return self.embedding.weight if self.word_head is None else self.word_head.weight

    def _word_logits(self, hidden_ND: Tensor, weight_VD: Tensor) -> Tensor:
        logits = self.output_product(hidden_ND, weight_VD, None)
        softcap = self.config.logit_softcap
        return torch.tanh(logits / softcap) * softcap if softcap else logits

    @property
    def drops(self) -> bool:
        """Whether anything is dropped while the model learns."""
        return bool(self.config.dropout or self.adapters.drops)

    def noise_keys(self, shape_BT: torch.Size, noise_seeds_B: Tensor | None, is_noisy: bool = False) -> Tensor | None:
        """Return what noise is drawn from at each position (B, T), or None where nothing is dropped or noisy."""
        if not (self.training and (is_noisy or self.drops)):
            return None
        if noise_seeds_B is None:
            noise_seeds_B = torch.randint(2**62, (shape_BT[0],), device=self.device)
        return position_keys(noise_seeds_B, seq_len=shape_BT[1])

    def embed(
        self, token_ids_BT: Tensor, position_ids: Tensor, grid_ids_BT: Tensor | None, *, cache: AnyPass | None
    ) -> Tensor:
        """Shapes: all (B, T), int64; returns (B, T, D), what the first block reads."""
        x_BTD: Tensor
        if self.lookback is None:
            x_BTD = self.embedding(token_ids_BT)
        else:
            x_BTD = self.lookback.embed(self.embedding, token_ids_BT, position_ids, cache=cache)
        if self.position_embedding is not None:
            x_BTD = x_BTD + self.position_embedding(position_ids)
        if self.grid_embedding is not None and grid_ids_BT is not None:
            cells_BTD = self.grid_embedding(grid_ids_BT.clamp(min=0))
            x_BTD = x_BTD + cells_BTD * (grid_ids_BT >= 0).unsqueeze(-1)
        return x_BTD

    def _check_num_blocks(self, num_blocks: int, *, has_cache: bool) -> None:
        if has_cache:
            raise ShapeError("num_blocks cannot be given with a cache: the blocks left out would lack their keys.")
        if not 0 <= num_blocks <= self.config.num_layers:
            raise ConfigError(f"num_blocks={num_blocks} must lie in 0..{self.config.num_layers}, the model's blocks.")


def count_parameters(model: nn.Module, *, adapter: str | None = None) -> int:
    """Return the number of weights without those of adapters, but for one; a shared weight counts once."""
    named = [(name.split("."), parameter) for name, parameter in model.named_parameters()]
    return sum(p.numel() for path, p in named if "adapters" not in path or (adapter and adapter_key(adapter) in path))
