"""How many pictures a second the engine draws: 28×28 grey ones of 7×7 codes, with guidance, in one batch.

    python benchmarks/drawing.py [--quick] [--pictures 64] [--guidance 1.5] [--rounds 3]

The model has the sizes of recipes/pictures-own-folder.yaml and random weights: what is drawn is noise, the work is the
same. Prompts are read, codes are drawn; turning codes into pixels is not counted. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch

from banyan.infer.engine import Engine
from banyan.infer.sampling import SamplingConfig
from banyan.model.presets import model_config
from banyan.model.transformer import Transformer, count_parameters
from banyan.tasks.image_generation import ImageGeneration, PictureExample
from banyan.testing.vocabulary import tiny_vocabulary

GRID_SIZE, NUM_CODES = 7, 1000
GOAL = 20.0  # pictures a second on two cores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--guidance", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    vocabulary = tiny_vocabulary(["draw"], num_image_codes=NUM_CODES)
    sizes = {"num_layers": 6, "embed_dim": 192, "num_heads": 3, "num_kv_heads": 3, "ffn_dim": 512, "max_seq_len": 72}
    pictures = {"vocab_size": vocabulary.size, "num_image_codes": NUM_CODES, "grid_size": GRID_SIZE}
    model = Transformer(model_config("banyan-micro", {**sizes, **pictures}))
    task = ImageGeneration(name="draw", grid_size=GRID_SIZE, num_codes=NUM_CODES)
    prompt = task.prompt(PictureExample(caption="a picture of 7"), vocabulary, max_tokens=72)
    how = [SamplingConfig(temperature=1.0, guidance_scale=asked.guidance, seed=n) for n in range(asked.pictures)]
    print(f"{count_parameters(model):,} weights, {torch.get_num_threads()} threads, torch {torch.__version__}")
    with Engine(model, vocabulary, num_slots=2 * asked.pictures) as engine:
        rates = []
        for _ in range(1 if asked.quick else asked.rounds):
            start = time.perf_counter()
            engine.complete([prompt] * asked.pictures, how)
            rates.append(asked.pictures / (time.perf_counter() - start))
            print(f"{rates[-1]:.1f} pictures/s")
    rate = statistics.median(rates)
    figure = {"name": "drawing/grey-28", "value": round(rate, 2), "unit": "pictures/s", "ratio": round(rate / GOAL, 3)}
    print(json.dumps({"figures": [{**figure, "against": f"goal of {GOAL:g} pictures/s"}]}))


if __name__ == "__main__":
    main()
