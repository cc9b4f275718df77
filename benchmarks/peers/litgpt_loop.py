"""LitGPT's model with GPT-2's sizes in the plain loop of the reference. Runs under the Python of its own environment:

python -m venv .venv-peers && .venv-peers/bin/pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
.venv-peers/bin/pip install numpy && .venv-peers/bin/pip install --no-deps litgpt==0.5.13 lightning lightning-utilities
"""

from __future__ import annotations

import torch
from litgpt import GPT, Config
from torch import nn
from turns import SHAPES, Shape, TokenStream, contender_options, take_turns


class Loop:
    """LitGPT has no learned positions: they are left out, as are their weights."""

    def __init__(self, shape: Shape) -> None:
        torch.manual_seed(0)
        config = Config(
            n_layer=shape.num_layers,
            n_head=shape.num_heads,
            n_embd=shape.embed_dim,
            block_size=shape.seq_len,
            vocab_size=shape.vocab_size,
            padded_vocab_size=shape.vocab_size,
            rotary_percentage=0.25,
            parallel_residual=False,
            bias=True,
            norm_class_name="LayerNorm",
            mlp_class_name="GptNeoxMLP",
            intermediate_size=4 * shape.embed_dim,
            gelu_approximate="tanh",
        )
        self.model = GPT(config)
        self.model.lm_head.weight = self.model.transformer.wte.weight
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, betas=(0.9, 0.95), fused=True)
        self.stream = TokenStream(shape)

    def step(self) -> float:
        token_ids, targets = self.stream.next()
        self.optimizer.zero_grad(set_to_none=True)
        logits = self.model(token_ids)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return float(loss.item())


def main() -> None:
    options = contender_options(("eager",))
    take_turns(Loop(SHAPES[options.shape]).step)


if __name__ == "__main__":
    main()
