"""The sizes and switches of one decoder-only Transformer."""

from __future__ import annotations

from typing import Literal

from banyan.core.config import config
from banyan.core.errors import ShapeError

_NOT_NEGATIVE = ("num_kv_heads", "head_dim", "ffn_dim", "num_image_codes", "grid_size", "lookback", "logit_softcap")


@config
class RopeScaling:
    """Stretch low RoPE frequencies so that a model reads further than it was first trained for.

    Source: Llama 3.1 (`rope_type: llama3`).
    """

    factor: float  # how much longer the low-frequency waves become
    low_freq_factor: float = 1.0  # waves longer than original_max_seq_len / this are stretched whole
    high_freq_factor: float = 4.0  # waves shorter than original_max_seq_len / this stay as they are
    original_max_seq_len: int = 8192  # positions the model was first trained for


@config
class ModelConfig:
    """Sizes and switches of one Transformer; a width given as 0 is derived from the others when the config is made."""

    num_layers: int
    num_heads: int
    embed_dim: int  # width of the residual stream
    vocab_size: int  # text, special and image ids together
    max_seq_len: int  # positions the model can address, in tokens
    num_kv_heads: int = 0  # 0: as many as num_heads
    head_dim: int = 0  # 0: embed_dim / num_heads
    ffn_dim: int = 0  # 0: 4 embed_dim, or 8/3 of it (to a multiple of 32) for swiglu
    num_image_codes: int = 0  # the last ids of the vocabulary
    grid_size: int = 0  # rows = columns of a picture's codes; 0: no pictures
    norm: Literal["rms", "layer"] = "rms"
    norm_eps: float = 1e-6
    norm_gain: bool = True
    norm_bias: bool = False
    position: Literal["rope", "learned", "none"] = "rope"
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    activation: Literal["swiglu", "gelu_tanh", "gelu", "relu2"] = "swiglu"
    attention_bias: bool = False  # on queries, keys and values
    output_bias: bool = False  # on the projection back from the heads
    ffn_bias: bool = False
    qk_norm: Literal["none", "gain", "plain"] = "none"  # RMS norm of each query and key head, before RoPE
    lookback: int = 0  # tokens before each one whose embeddings it takes over, channel by channel
    tie_embeddings: bool = True
    logit_softcap: float = 0.0  # 0: none; otherwise logits are squeezed into ±this
    dropout: float = 0.0  # probability, 0 <= p < 1, on what each block adds to the residual stream
    sliding_window: int | None = None  # tokens a query sees, itself included; None: all before it

    def __post_init__(self) -> None:
        self._check_counts()
        self._derive("num_kv_heads", self.num_heads)
        if not self.head_dim:
            self._check_heads_fill_the_width()
        self._derive("head_dim", self.embed_dim // self.num_heads)
        self._derive("ffn_dim", _ffn_dim(self.embed_dim, is_gated=self.activation == "swiglu"))
        self._check_shapes()

    def _derive(self, name: str, value: int) -> None:
        if not getattr(self, name):
            object.__setattr__(self, name, value)

    @property
    def text_vocab_size(self) -> int:
        """Text and special ids: all that the word head can predict."""
        return self.vocab_size - self.num_image_codes

    @property
    def num_grid_cells(self) -> int:
        """Codes in one picture."""
        return self.grid_size * self.grid_size

    def _check_counts(self) -> None:
        for name in ("num_layers", "num_heads", "embed_dim", "vocab_size", "max_seq_len"):
            self._require(name, getattr(self, name) >= 1, "must be at least 1")
        for name in _NOT_NEGATIVE:
            self._require(name, getattr(self, name) >= 0, "must not be negative")
        for name in ("norm_eps", "rope_theta"):
            self._require(name, getattr(self, name) > 0, "must be above 0")
        self._require("dropout", 0 <= self.dropout < 1, "must lie in 0 <= p < 1")
        window = self.sliding_window
        self._require("sliding_window", window is None or window >= 1, "must be at least 1, or null for none")

    def _require(self, name: str, is_met: bool, rule: str) -> None:
        if not is_met:
            raise ShapeError(f"model.{name}={getattr(self, name)} {rule}.")

    def _check_heads_fill_the_width(self) -> None:
        if self.embed_dim % self.num_heads:
            lower = self.embed_dim - self.embed_dim % self.num_heads
            raise ShapeError(
                f"model.embed_dim={self.embed_dim} cannot be split into model.num_heads={self.num_heads} equal heads; "
                f"nearest widths that can: {lower} and {lower + self.num_heads}.",
                hint="or give model.head_dim, which need not be embed_dim / num_heads",
            )

    def _check_shapes(self) -> None:
        if self.num_heads % self.num_kv_heads:
            raise ShapeError(
                f"model.num_heads={self.num_heads} is not a multiple of model.num_kv_heads={self.num_kv_heads}: "
                "every key/value head serves the same number of query heads."
            )
        if self.position == "rope" and self.head_dim % 2:
            raise ShapeError(f"model.head_dim={self.head_dim} is odd; rope turns pairs and needs an even width.")
        if self.rope_scaling is not None and self.position != "rope":
            raise ShapeError(f"model.rope_scaling has nothing to stretch with model.position={self.position}.")
        if self.num_image_codes >= self.vocab_size:
            raise ShapeError(
                f"model.num_image_codes={self.num_image_codes} leaves no text in model.vocab_size={self.vocab_size}."
            )


def _ffn_dim(embed_dim: int, *, is_gated: bool) -> int:
    if not is_gated:
        return 4 * embed_dim
    return -(-8 * embed_dim // 3 // 32) * 32
