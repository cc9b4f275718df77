"""nanoGPT's own model and optimizer, from a checkout, in the loop of its train.py: eager, compiled and in bfloat16."""

from __future__ import annotations

import sys

import torch
from torch import nn
from turns import PEER_PRECISIONS, Shape, TokenStream, contender_options, micro_batches, shape_of, take_turns


class Loop:
    """One optimizer step after the other, with what nanoGPT's configure_optimizers gives."""

    def __init__(self, shape: Shape, checkout: str, *, mode: str, device: str = "cpu") -> None:
        sys.path.insert(0, checkout)
        from model import GPT, GPTConfig  # lies in the checkout, and so cannot be imported before

        torch.manual_seed(0)
        torch.backends.cuda.matmul.allow_tf32 = True
        self.shape, self.device, self.dtype = shape, device, PEER_PRECISIONS[mode]
        config = GPTConfig(
            block_size=shape.seq_len,
            vocab_size=shape.vocab_size,
            n_layer=shape.num_layers,
            n_head=shape.num_heads,
            n_embd=shape.embed_dim,
            dropout=0.0,
            bias=True,
        )
        self.model = GPT(config).to(device)
        self.forward = self.model if mode == "eager" else torch.compile(self.model)
        self.optimizer = self.model.configure_optimizers(0.1, 1e-3, (0.9, 0.95), device)
        self.stream = TokenStream(shape)

    def step(self) -> float:
        parts = micro_batches(self.stream.next(), self.shape, device=self.device)
        for token_ids, targets in parts:
            with torch.autocast(self.device, dtype=self.dtype, enabled=self.dtype != torch.float32):
                loss = self.forward(token_ids, targets)[1] / len(parts)
            loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return len(parts) * float(loss.item())


def main() -> None:
    options = contender_options(tuple(PEER_PRECISIONS))
    loop = Loop(shape_of(options), options.checkout, mode=options.mode, device=options.device)
    take_turns(loop.step, device=options.device)


if __name__ == "__main__":
    main()
