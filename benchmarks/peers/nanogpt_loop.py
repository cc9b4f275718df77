"""nanoGPT's own model and optimizer, from a checkout, in the loop of its train.py: eager and compiled."""

from __future__ import annotations

import sys

import torch
from torch import nn
from turns import SHAPES, Shape, TokenStream, contender_options, take_turns


class Loop:
    """One optimizer step after the other, with what nanoGPT's configure_optimizers gives on a CPU."""

    def __init__(self, shape: Shape, checkout: str, *, is_compiled: bool) -> None:
        sys.path.insert(0, checkout)
        from model import GPT, GPTConfig  # lies in the checkout, and so cannot be imported before

        torch.manual_seed(0)
        config = GPTConfig(
            block_size=shape.seq_len,
            vocab_size=shape.vocab_size,
            n_layer=shape.num_layers,
            n_head=shape.num_heads,
            n_embd=shape.embed_dim,
            dropout=0.0,
            bias=True,
        )
        self.model = GPT(config)
        self.forward = torch.compile(self.model) if is_compiled else self.model
        self.optimizer = self.model.configure_optimizers(0.1, 1e-3, (0.9, 0.95), "cpu")
        self.stream = TokenStream(shape)

    def step(self) -> float:
        token_ids, targets = self.stream.next()
        _, loss = self.forward(token_ids, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(loss.item())


def main() -> None:
    options = contender_options(("eager", "compiled"))
    take_turns(Loop(SHAPES[options.shape], options.checkout, is_compiled=options.mode == "compiled").step)


if __name__ == "__main__":
    main()
