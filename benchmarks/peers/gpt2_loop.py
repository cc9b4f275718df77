"""The reference every figure stands beside: GPT-2 and its training loop, as plainly as they can be written.

Learned positions, LayerNorm with bias, tanh GELU, causal SDPA, tied head; fused AdamW, gradients clipped at 1. Nothing
is tuned to a shape, nothing is left out. `bfloat16` is compiled, under autocast, as nanoGPT runs on a GPU.
Source: Radford et al. 2019; loop as in nanoGPT (Karpathy 2022).

    python benchmarks/peers/gpt2_loop.py --shape tiny --mode compiled     (then a number of steps on standard input)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from turns import PEER_PRECISIONS, Shape, TokenStream, contender_options, micro_batches, shape_of, take_turns

INIT_STD = 0.02


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.num_heads = shape.num_heads
        self.qkv = nn.Linear(shape.embed_dim, 3 * shape.embed_dim)
        self.output = nn.Linear(shape.embed_dim, shape.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=2))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.output(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(shape.embed_dim)
        self.attention = Attention(shape)
        self.feed_forward_norm = nn.LayerNorm(shape.embed_dim)
        self.up = nn.Linear(shape.embed_dim, 4 * shape.embed_dim)
        self.down = nn.Linear(4 * shape.embed_dim, shape.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.down(F.gelu(self.up(self.feed_forward_norm(x)), approximate="tanh"))


class GPT2(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.vocab_size, shape.embed_dim)
        self.position_embedding = nn.Embedding(shape.seq_len, shape.embed_dim)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.num_layers))
        self.final_norm = nn.LayerNorm(shape.embed_dim)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=INIT_STD)

    def forward(self, token_ids: Tensor, targets: Tensor) -> Tensor:
        x = self.embedding(token_ids) + self.position_embedding.weight[: token_ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.final_norm(x), self.embedding.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Loop:
    """One optimizer step after the other on random text."""

    def __init__(self, shape: Shape, *, mode: str, device: str = "cpu") -> None:
        torch.manual_seed(0)
        torch.backends.cuda.matmul.allow_tf32 = True
        self.shape, self.device, self.dtype = shape, device, PEER_PRECISIONS[mode]
        self.model = GPT2(shape).to(device)
        self.loss = self.model if mode == "eager" else torch.compile(self.model)
        matrices = [parameter for parameter in self.model.parameters() if parameter.ndim == 2]
        others = [parameter for parameter in self.model.parameters() if parameter.ndim != 2]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), fused=True)
        self.stream = TokenStream(shape)

    def step(self) -> float:
        parts = micro_batches(self.stream.next(), self.shape, device=self.device)
        self.optimizer.zero_grad(set_to_none=True)
        for token_ids, targets in parts:
            with torch.autocast(self.device, dtype=self.dtype, enabled=self.dtype != torch.float32):
                loss = self.loss(token_ids, targets) / len(parts)
            loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return len(parts) * loss.item()


def main() -> None:
    options = contender_options(tuple(PEER_PRECISIONS))
    shape = shape_of(options)
    loop = Loop(shape, mode=options.mode, device=options.device)
    take_turns(loop.step, broken_down=shape if options.breakdown else None, device=options.device)


if __name__ == "__main__":
    main()
