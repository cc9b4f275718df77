"""Export to a GGUF file, which llama.cpp and what is built on it open.

Source: llama.cpp's own converter (convert_hf_to_gguf.py) for names, fields and the order of rope's channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from banyan.core.errors import ConfigError, missing_extra
from banyan.model.config import ModelConfig
from banyan.model.rope import rope_frequencies
from banyan.transfer.export_format import ExportSource, Progress, WeightType, fitting
from banyan.transfer.gguf_tokenizer import GgufTokenizer, gguf_tokenizer
from banyan.transfer.tokenizer_files import tokenizer_files

# llama.cpp computes Mistral as a Llama.
_ARCHITECTURES = {"gpt2": "gpt2", "llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
_FILE_TYPES = {WeightType.F32: 0, WeightType.F16: 1, WeightType.Q8_0: 7, WeightType.BF16: 32}
_BYTES_OF_32 = {WeightType.F32: 128, WeightType.F16: 64, WeightType.BF16: 64, WeightType.Q8_0: 34}
_ROW_BLOCK = 32  # weights of a row that share a scale in q8_0
_POSITIONS = "transformer.wpe.weight"  # added to the embedding as it is, so always float32
_ROTATED = ("q_proj.weight", "q_proj.bias", "k_proj.weight", "k_proj.bias")
_TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")  # GPT-2 writes its matrices the other way round
_ROPE_FACTORS = "rope_freqs.weight"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """One tensor of the file."""

    name: str
    weight_type: WeightType
    shape: tuple[int, ...]
    source: str | None  # name among the model's weights; None: computed

    @property
    def num_bytes(self) -> int:
        num_weights = 1
        for size in self.shape:
            num_weights *= size
        return num_weights * _BYTES_OF_32[self.weight_type] // 32


class GgufFile:
    """One file with weights, sizes, tokenizer and chat template."""

    types: ClassVar[Mapping[WeightType | None, str]] = {
        None: "float16",
        WeightType.F32: "float32",
        WeightType.F16: "float16",
        WeightType.BF16: "bfloat16",
        WeightType.Q8_0: "8 bits with a scale for each 32 weights",
    }

    def check(self, source: ExportSource) -> None:
        """Refuse what llama.cpp would compute otherwise, or could not open.

        Raises: ConfigError with the reason; MissingExtraError without the package gguf.
        """
        _gguf()
        config = source.config
        if config.rope_scaling is not None and _ARCHITECTURES[source.architecture] != "llama":
            raise _refusal(source, f"rope scaling in a {source.architecture}")
        if source.architecture == "qwen3" and config.attention_bias:
            raise _refusal(source, "biases beside the norms of queries and keys")
        _tokenizer(source)

    def num_bytes(self, source: ExportSource, weight_type: WeightType | None) -> int:
        """Return how much room the weights will take."""
        return sum(entry.num_bytes for entry in _entries(source, weight_type or WeightType.F16))

    def write(
        self, source: ExportSource, directory: Path, *, weight_type: WeightType | None, progress: Progress
    ) -> None:
        """Write the file; one tensor at a time is in memory.

        Raises: ConfigError if a weight is too large for its type; OSError if the disk is full.
        """
        chosen = weight_type or WeightType.F16
        writer = _gguf().GGUFWriter(directory / file_name(source, chosen), _ARCHITECTURES[source.architecture])
        try:
            _add_facts(writer, source, chosen)
            _add_sizes(writer, source.config, architecture=source.architecture)
            _add_tokenizer(writer, _tokenizer(source))
            _write_tensors(writer, source, list(_entries(source, chosen)), progress)
        finally:
            writer.close()

    def remarks(self, source: ExportSource, weight_type: WeightType | None) -> tuple[str, ...]:
        """Return what a user of llama.cpp must know about this model."""
        rounded = source.rounding(weight_type or WeightType.F16)
        window = source.config.sliding_window
        if window is None or window >= source.config.max_seq_len:
            return rounded
        return (
            f"llama.cpp has no sliding window for this architecture: the file says {window} tokens of context "
            f"instead of {source.config.max_seq_len}, within which both compute the same",
            *rounded,
        )

    def loading(self, source: ExportSource, weight_type: WeightType | None) -> str:
        """Return how the export is opened, as a section of Markdown."""
        return _LOADING.format(file=file_name(source, weight_type or WeightType.F16))


def file_name(source: ExportSource, weight_type: WeightType) -> str:
    """Return what the file is called, as others of its kind are."""
    return f"{source.name}-{weight_type.value.upper()}.gguf"


def _gguf() -> Any:
    try:
        import gguf  # here, for it is an extra
    except ImportError as error:
        raise missing_extra("gguf", "gguf", needed_for="--format gguf") from error
    return gguf


def _refusal(source: ExportSource, what: str) -> ConfigError:
    return ConfigError(
        f"{source.name} cannot become a GGUF file: llama.cpp does not compute {what}.",
        hint="use --format hf, which transformers computes exactly",
    )


def _tokenizer(source: ExportSource) -> GgufTokenizer:
    return gguf_tokenizer(tokenizer_files(source), source.vocabulary)


# ------------------------------------------------------------------------------------------------ fields


def _add_facts(writer: Any, source: ExportSource, weight_type: WeightType) -> None:
    writer.add_type("model")
    writer.add_name(source.name)
    if source.licence is not None:
        writer.add_license(source.licence)
    if source.languages:
        writer.add_languages(list(source.languages))
    writer.add_file_type(_FILE_TYPES[weight_type])
    writer.add_quantization_version(_gguf().GGML_QUANT_VERSION)


def _add_sizes(writer: Any, config: ModelConfig, *, architecture: str) -> None:
    writer.add_block_count(config.num_layers)
    writer.add_context_length(min(config.max_seq_len, config.sliding_window or config.max_seq_len))
    writer.add_embedding_length(config.embed_dim)
    writer.add_feed_forward_length(config.ffn_dim)
    writer.add_head_count(config.num_heads)
    writer.add_vocab_size(config.text_vocab_size)
    if architecture == "gpt2":
        writer.add_layer_norm_eps(config.norm_eps)
        return
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)


def _add_tokenizer(writer: Any, tokenizer: GgufTokenizer) -> None:
    writer.add_tokenizer_model(tokenizer.model)
    writer.add_tokenizer_pre(tokenizer.pre)
    writer.add_token_list(tokenizer.tokens)
    writer.add_token_types([int(kind) for kind in tokenizer.kinds])
    if tokenizer.scores:
        writer.add_token_scores(tokenizer.scores)
        writer.add_add_space_prefix(tokenizer.add_space_prefix)
    else:
        writer.add_token_merges(tokenizer.merges)
    for name, token_id in tokenizer.special_ids.items():
        getattr(writer, f"add_{name}_token_id")(token_id)
    writer.add_add_bos_token(tokenizer.add_bos)
    writer.add_add_eos_token(False)
    if tokenizer.chat_template is not None:
        writer.add_chat_template(tokenizer.chat_template)


# ------------------------------------------------------------------------------------------------ tensors


def _entries(source: ExportSource, weight_type: WeightType) -> Iterator[_Entry]:
    """Yield what the file holds, in its order."""
    gguf = _gguf()
    names = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}
    known = gguf.get_tensor_name_map(names[_ARCHITECTURES[source.architecture]], source.config.num_layers)
    for name in source.weights:
        stored = source.weights.info(name).shape
        shape = stored[::-1] if name.endswith(_TRANSPOSED) else stored
        yield _Entry(
            name=known.get_name(name, try_suffixes=(".weight", ".bias")),
            weight_type=_type_of(name, shape, weight_type),
            shape=shape,
            source=name,
        )
    if source.config.rope_scaling is not None:
        shape = (source.config.head_dim // 2,)
        yield _Entry(name=_ROPE_FACTORS, weight_type=WeightType.F32, shape=shape, source=None)


def _type_of(name: str, shape: tuple[int, ...], wanted: WeightType) -> WeightType:
    """Return how a tensor is written: norms and biases whole, rows that cannot be cut into blocks by halves."""
    if len(shape) == 1 or name == _POSITIONS:
        return WeightType.F32
    return WeightType.F16 if wanted is WeightType.Q8_0 and shape[-1] % _ROW_BLOCK else wanted


def _write_tensors(writer: Any, source: ExportSource, entries: list[_Entry], progress: Progress) -> None:
    gguf = _gguf()
    for entry in entries:
        kind = gguf.GGMLQuantizationType[entry.weight_type.name]
        writer.add_tensor_info(entry.name, entry.shape, np.dtype(np.float32), entry.num_bytes, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    written, total = 0, sum(entry.num_bytes for entry in entries)
    for entry in entries:
        if entry.source is None:
            weight = _rope_factors(source.config)
        else:
            weight = _as_llama_cpp_reads_it(entry.source, source.weights[entry.source], source)
        if entry.weight_type is WeightType.F16:
            fitting(entry.source or entry.name, weight, torch.float16)
        kind = gguf.GGMLQuantizationType[entry.weight_type.name]
        writer.write_tensor_data(gguf.quants.quantize(weight.float().contiguous().numpy(), kind))
        written += entry.num_bytes
        progress(written, total)


def _as_llama_cpp_reads_it(name: str, weight: Tensor, source: ExportSource) -> Tensor:
    if name.endswith(_TRANSPOSED):
        return weight.T
    if _ARCHITECTURES[source.architecture] == "llama" and name.endswith(_ROTATED):
        return neighbouring_pairs(weight, head_dim=source.config.head_dim)
    return weight


def neighbouring_pairs(weight: Tensor, *, head_dim: int) -> Tensor:
    """Reorder the channels of each head from (k, k + K/2) pairs to neighbours, which llama.cpp turns for Llama.

    Shapes: weight (H K,) or (H K, D), returned alike.
    """
    pairs = weight.reshape(-1, 2, head_dim // 2, *weight.shape[1:])
    return pairs.transpose(1, 2).reshape(weight.shape)


def _rope_factors(config: ModelConfig) -> Tensor:
    """Return by how much each frequency is divided."""
    plain = rope_frequencies(config.head_dim, theta=config.rope_theta)
    return plain / rope_frequencies(config.head_dim, theta=config.rope_theta, scaling=config.rope_scaling)


_LOADING = """\
With [llama.cpp](https://github.com/ggml-org/llama.cpp):

```sh
llama-cli -m {file} -p "Once upon a time" -n 40
llama-server -m {file}
```

With [llama-cpp-python](https://github.com/abetlen/llama-cpp-python):

```python
from llama_cpp import Llama

model = Llama("{file}")
print(model("Once upon a time", max_tokens=40)["choices"][0]["text"])
```
"""
