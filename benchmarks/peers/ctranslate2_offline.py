"""CTranslate2 in float32 without a server: all prompts in one call. Runs under the Python of its own environment:

python -m venv .venv-ct2 && .venv-ct2/bin/pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
.venv-ct2/bin/pip install ctranslate2 transformers

It converts an exported model, says so, and stays: each line that comes in is answered with the seconds it took.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import ctranslate2
from ctranslate2.converters import TransformersConverter
from tokenizers import Tokenizer


class Converter(TransformersConverter):
    """It expects a name for every row and one for unknown tokens, which our small tokenizer does not have."""

    def load_tokenizer(self, tokenizer_class, exported, **settings):  # type: ignore[no-untyped-def]
        tokenizer = super().load_tokenizer(tokenizer_class, exported, **settings)
        num_rows = json.loads((Path(exported) / "config.json").read_text())["vocab_size"]
        tokenizer.unk_token = tokenizer.unk_token or tokenizer.eos_token
        tokenizer.add_tokens([f"<unused_{row}>" for row in range(len(tokenizer), num_rows)])
        return tokenizer


def answer(
    generator: ctranslate2.Generator, tokenizer: Tokenizer, prompts: Sequence[str], *, num_tokens: int
) -> dict[str, float]:
    """Continue all prompts greedily by so many tokens; the time that splitting them into tokens takes counts too."""
    started = time.perf_counter()
    found = generator.generate_batch(
        [tokenizer.encode(prompt).tokens for prompt in prompts],
        max_length=num_tokens,
        min_length=num_tokens,
        sampling_topk=1,
        include_prompt_in_result=False,
    )
    count = sum(len(one.sequences_ids[0]) for one in found)
    return {"num_tokens": count, "seconds": time.perf_counter() - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exported", type=Path, help="Hugging Face directory")
    parser.add_argument("converted", type=Path, help="where to write CTranslate2's own format")
    options = parser.parse_args()
    Converter(str(options.exported)).convert(str(options.converted), quantization="float32")
    # All cores for one batch: on two, two batches of half the prompts with a core each reached 0.9 of its rate.
    generator = ctranslate2.Generator(
        str(options.converted), compute_type="float32", inter_threads=1, intra_threads=os.cpu_count() or 1
    )
    tokenizer = Tokenizer.from_file(str(options.exported / "tokenizer.json"))
    print("{}", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(answer(generator, tokenizer, asked["prompts"], num_tokens=asked["num_tokens"])), flush=True)


if __name__ == "__main__":
    main()
