"""transformers in float32, one prompt after another, in a process that has nothing of Banyan's settings.

It needs torch and transformers, which the project's own environment for its tests has. It loads an exported model, says
so, and stays: each line that comes in is answered with the seconds it took.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def answer(model: Any, tokenizer: Any, prompts: Sequence[str], *, num_tokens: int) -> dict[str, float]:
    """Continue all prompts greedily by so many tokens; the time that splitting them into tokens takes counts too."""
    started, count = time.perf_counter(), 0
    with torch.inference_mode():
        for prompt in prompts:
            ids = tokenizer(prompt, return_tensors="pt")
            found = model.generate(**ids, max_new_tokens=num_tokens, min_new_tokens=num_tokens, do_sample=False)
            count += found.shape[1] - ids["input_ids"].shape[1]
    return {"num_tokens": count, "seconds": time.perf_counter() - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exported", type=Path, help="Hugging Face directory")
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(options.exported)
    model = AutoModelForCausalLM.from_pretrained(options.exported, dtype=torch.float32).eval()
    print("{}", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(answer(model, tokenizer, asked["prompts"], num_tokens=asked["num_tokens"])), flush=True)


if __name__ == "__main__":
    main()
