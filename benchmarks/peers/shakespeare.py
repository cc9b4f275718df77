"""The reference of `time_to_loss.py`: nanoGPT's documented character recipes, written anew.

GPT-2 blocks without biases, learned positions, tied head, AdamW with cosine decay, random crops of the training text.
The small recipe is the one nanoGPT's README gives for a CPU, which it runs without torch.compile; `--compile` compiles
as nanoGPT does elsewhere. AdamW is the fused one (nanoGPT takes it on a GPU only), which is faster. On a GPU the
products are in bfloat16, by autocast, and those outside it in TF32, as nanoGPT sets them.
Source: github.com/karpathy/nanoGPT, README.md and config/train_shakespeare_char.py.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers.text_trial import Trial, read_trial


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One of nanoGPT's recipes."""

    num_layers: int
    num_heads: int
    embed_dim: int
    seq_len: int
    rows: int  # crops in one step
    steps: int
    dropout: float
    evaluate_every: int
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-4
    warmup_steps: int = 100
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.1
    clip_norm: float = 1.0


RECIPES = {
    "small": Recipe(
        num_layers=4, num_heads=4, embed_dim=128, seq_len=64, rows=12, steps=2000, dropout=0.0, evaluate_every=500
    ),
    "large": Recipe(
        num_layers=6, num_heads=6, embed_dim=384, seq_len=256, rows=64, steps=5000, dropout=0.2, evaluate_every=100
    ),
}


class Attention(nn.Module):
    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.num_heads, self.dropout = recipe.num_heads, recipe.dropout
        self.qkv = nn.Linear(recipe.embed_dim, 3 * recipe.embed_dim, bias=False)
        self.output = nn.Linear(recipe.embed_dim, recipe.embed_dim, bias=False)
        self.output_dropout = nn.Dropout(recipe.dropout)

    def forward(self, x: Tensor) -> Tensor:
        rows, seq_len, width = x.shape
        heads = (rows, seq_len, self.num_heads, width // self.num_heads)
        q, k, v = (part.view(heads).transpose(1, 2) for part in self.qkv(x).split(width, dim=2))
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        return self.output_dropout(self.output(mixed.transpose(1, 2).reshape(rows, seq_len, width)))


class FeedForward(nn.Module):
    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.up = nn.Linear(recipe.embed_dim, 4 * recipe.embed_dim, bias=False)
        self.output = nn.Linear(4 * recipe.embed_dim, recipe.embed_dim, bias=False)
        self.dropout = nn.Dropout(recipe.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.output(F.gelu(self.up(x))))


class Block(nn.Module):
    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(recipe.embed_dim, bias=False)
        self.attention = Attention(recipe)
        self.feed_forward_norm = nn.LayerNorm(recipe.embed_dim, bias=False)
        self.feed_forward = FeedForward(recipe)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.feed_forward(self.feed_forward_norm(x))


class CharacterGPT(nn.Module):
    """nanoGPT's model with its initialisation; the head shares the embedding's table."""

    def __init__(self, recipe: Recipe, *, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, recipe.embed_dim)
        self.positions = nn.Embedding(recipe.seq_len, recipe.embed_dim)
        self.dropout = nn.Dropout(recipe.dropout)
        self.blocks = nn.ModuleList(Block(recipe) for _ in range(recipe.num_layers))
        self.final_norm = nn.LayerNorm(recipe.embed_dim, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                is_output = name.endswith("output.weight")
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * recipe.num_layers) if is_output else 0.02)

    def forward(self, token_ids: Tensor) -> Tensor:
        positions = torch.arange(token_ids.shape[1], device=token_ids.device)
        x = self.dropout(self.embedding(token_ids) + self.positions(positions))
        for block in self.blocks:
            x = block(x)
        return F.linear(self.final_norm(x), self.embedding.weight)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Return the rate of step 0, 1, …: linear warm-up, then a cosine down to the last rate."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / (recipe.warmup_steps + 1)
    progress = (step - recipe.warmup_steps) / (recipe.steps - recipe.warmup_steps)
    height = 0.5 * (1.0 + math.cos(math.pi * progress))
    return recipe.final_learning_rate + height * (recipe.learning_rate - recipe.final_learning_rate)


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    groups = [
        {"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, fused=True)


def random_crops(text: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor]:
    starts = torch.randint(len(text) - recipe.seq_len, (recipe.rows,))
    places = starts[:, None] + torch.arange(recipe.seq_len)
    return text[places], text[places + 1]


def placed(tensor: Tensor, device: str) -> Tensor:
    """Return a tensor where the model lies; the process does not wait for the copy to a GPU."""
    return tensor if device == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def train(trial: Trial, recipe: Recipe, *, is_compiled: bool) -> None:
    torch.manual_seed(trial.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    plain = CharacterGPT(recipe, vocab_size=trial.vocab_size).to(trial.device)
    in_bfloat16 = torch.autocast(trial.device, dtype=torch.bfloat16, enabled=trial.device == "cuda")
    optimizer = build_optimizer(plain, recipe)
    model = torch.compile(plain) if is_compiled else plain

    def evaluate(step: int) -> None:
        plain.eval()
        trial.evaluate(plain, step=step)
        plain.train()

    step = 0
    while step < recipe.steps and trial.clock.seconds < trial.max_seconds:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step)
        token_ids, targets = (placed(part, trial.device) for part in random_crops(trial.train, recipe))
        with in_bfloat16:
            loss = F.cross_entropy(model(token_ids).flatten(0, 1), targets.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        if step % recipe.evaluate_every == 0 and step < recipe.steps:
            evaluate(step)
    evaluate(step)
    num_parameters = sum(parameter.numel() for parameter in plain.parameters())
    trial.finish(num_parameters=num_parameters, tokens=step * recipe.rows * recipe.seq_len)


if __name__ == "__main__":
    trial = read_trial()
    train(trial, RECIPES[trial.recipe], is_compiled=os.environ.get("REFERENCE_COMPILE") == "1")
