"""A model that is ready to answer: the one object that Python users, command line and server hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from banyan.core.errors import ConfigError, InputError, UnknownNameError
from banyan.core.registry import did_you_mean
from banyan.core.types import Completion, Image, Prediction, Prompt, Row
from banyan.infer.candidates import best_candidate, candidates_of
from banyan.infer.embedding import EmbeddingConfig, Pooling
from banyan.infer.engine import Engine
from banyan.infer.sampling import SamplingConfig
from banyan.model.transformer import Transformer, count_parameters
from banyan.runtime.defaults import default_sampling, override, own_seeds
from banyan.runtime.description import ModelDescription
from banyan.runtime.streaming import stream_text
from banyan.tasks.base import Task
from banyan.tasks.dialogue import Dialogue
from banyan.tasks.image_generation import show_picture
from banyan.tasks.language_modeling import LanguageModeling, TextExample
from banyan.tasks.metrics.calibration import tempered
from banyan.tokenizers.images import ImageTokenizer
from banyan.tokenizers.vocabulary import Vocabulary

Input: TypeAlias = str | Row  # a question as typed, or a record with the columns of the task's format
ChatMessage: TypeAlias = Mapping[str, str]  # {"role": "user", "content": "…"}


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """One model, its tokenizers and its tasks.

    >>> with banyan.load("runs/demo/best") as model:
    ...     model.predict("classification", ["Return the sine of x."])[0].text
    ...     model.generate("def add(", max_tokens=40)
    ...     model.draw("a handwritten seven", num=4)

    The same call with the same seed gives the same answer. All methods may be called from many threads at once.
    """

    directory: Path
    sha256: str  # of the manifest, so of every file: the identity of these weights
    description: ModelDescription
    tasks: Mapping[str, Task[Any]]  # by name, in the order of their task tokens
    vocabulary: Vocabulary
    image_tokenizer: ImageTokenizer | None
    model: Transformer
    engine: Engine
    adapter: str | None = None  # that answers; None: the model itself
    trunk: LoadedModel | None = field(default=None, repr=False, compare=False)  # under an adapter: the model without
    adapters: dict[str, LoadedModel] = field(default_factory=dict, repr=False, compare=False)  # loaded beside it

    def __repr__(self) -> str:
        return f"LoadedModel({str(self.directory)!r}, tasks={list(self.tasks)}, num_parameters={self.num_parameters})"

    @property
    def num_parameters(self) -> int:
        """Number of weights, those of the adapter that answers among them."""
        return count_parameters(self.model, adapter=self.adapter)

    @property
    def max_seq_len(self) -> int:
        """Tokens the model can address, prompt and answer together."""
        return self.engine.max_seq_len

    def load_adapter(self, name: str, directory: Path | str) -> LoadedModel:
        """Load an adapter for this model and return the model as it answers under it.

        >>> model.load_adapter("reviews", "runs/reviews/best")
        >>> model.predict("sentiment", ["A fine book."], adapter="reviews")[0].text

        It answers the tasks it was taught, with its own task heads. All share one trunk, and requests of many adapters
        are answered together. May be called while the model answers.
        Raises: ConfigError if the name is taken; FileError or CheckpointError if the folder cannot be used, or was made
        for another model.
        """
        # Only here, for that module makes objects of this class.
        from banyan.runtime.loading import load_adapter

        return load_adapter(self, name, Path(directory))

    def under(self, adapter: str | None) -> LoadedModel:
        """Return the model as it answers under one of its adapters; None: as it answers anyway.

        Raises: UnknownNameError if no adapter of this name was loaded.
        """
        if adapter is None:
            return self
        if adapter not in self.adapters:
            raise UnknownNameError(f"the model has no adapter {adapter!r}{did_you_mean(adapter, self.adapters)}")
        return self.adapters[adapter]

    def task(self, name: str) -> Task[Any]:
        """Return a task by its name.

        Raises: UnknownNameError if the model was not taught it.
        """
        if name not in self.tasks:
            raise UnknownNameError(f"the model has no task {name!r}{did_you_mean(name, self.tasks)}")
        return self.tasks[name]

    def task_of_kind(self, kind: str) -> Task[Any]:
        """Return the first task of a kind.

        Raises: ConfigError if the model was taught none.
        """
        found = next((task for task in self.tasks.values() if task.kind == kind), None)
        if found is None:
            known = ", ".join(f"{task.name} ({task.kind})" for task in self.tasks.values()) or "none"
            hint = "it goes on with text: banyan generate" if kind == Dialogue.kind else None
            raise ConfigError(f"the model has no task of kind {kind}; its tasks: {known}.", hint=hint)
        return found

    def sampling_for(self, task: str) -> SamplingConfig:
        """Return how a task answers unless it is asked otherwise."""
        asked = self.task(task)
        return self.description.sampling.get(asked.name) or default_sampling(asked.kind)

    def prompt(self, task: str, example: Any) -> Prompt:
        """Return what the model reads when it is asked an example of a task; a picture in it becomes codes."""
        [seen] = self._with_codes(task, [example])
        return self.task(task).prompt(seen, self.vocabulary, max_tokens=self.max_seq_len)

    def _with_codes(self, task: str, examples: Sequence[Any]) -> list[Any]:
        if self.image_tokenizer is None:
            return list(examples)
        return self.task(task).see(examples, self.image_tokenizer)

    def read(self, prompt: Prompt, completion: Completion) -> Prediction:
        """Make a completion into an answer that a person can read; a picture gets its pixels.

        The probabilities of labels are those after temperature scaling, where a temperature was fitted.
        """
        if completion.label_probs:
            temperature = self.description.temperatures.get(prompt.task, 1.0)
            completion = replace(completion, label_probs=tempered(completion.label_probs, temperature))
        prediction = self.task(prompt.task).read(prompt, completion, self.vocabulary)
        if prediction.image_codes is None or self.image_tokenizer is None:
            return prediction
        return show_picture(prediction, self.image_tokenizer)

    def answer(self, task: str, examples: Sequence[Any], *, sampling: SamplingConfig | None = None) -> list[Prediction]:
        """Answer examples that a task has made (`task.parse`, `task.example_from_text`), in their order.

        An example that comes more than once is answered with a seed of its own each time.
        Raises: ContextLengthError or InputError for the first example that cannot be answered.
        """
        prompts = [self.prompt(task, example) for example in self._with_codes(task, examples)]
        samplings = own_seeds(prompts, sampling or self.sampling_for(task))
        completions = self._complete(prompts, samplings)
        return [self.read(prompt, completion) for prompt, completion in zip(prompts, completions, strict=True)]

    def _complete(self, prompts: Sequence[Prompt], samplings: Sequence[SamplingConfig]) -> list[Completion]:
        """Answer every prompt, each picture with the best of its candidates."""
        tries = [candidates_of(prompt, sampling) for prompt, sampling in zip(prompts, samplings, strict=True)]
        asked = [prompt for prompt, own in zip(prompts, tries, strict=True) for _ in own]
        drawn = iter(self.engine.complete(asked, list(chain.from_iterable(tries))))
        return [best_candidate([next(drawn) for _ in own]) for own in tries]

    def predict(
        self,
        task: str,
        inputs: Input | Sequence[Input],
        *,
        sampling: SamplingConfig | None = None,
        adapter: str | None = None,
    ) -> list[Prediction]:
        """Answer questions as a person types them, or records with the columns of the task's format.

        >>> model.predict("translation", ["three days ago"])[0].text
        >>> model.predict("question_answering", {"question": "What does it return?", "context": "…"})[0].span

        A single question gives a list of one answer.
        Raises: UnknownNameError for a task the model was not taught; InputError or DataError for a question it cannot
        take.
        """
        own = self.under(adapter)
        asked = own.task(task)
        items = [inputs] if isinstance(inputs, str | Mapping) else inputs
        return own.answer(task, [asked.read_question(item).example for item in items], sampling=sampling)

    def generate(
        self,
        text: str = "",
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        sampling: SamplingConfig | None = None,
        adapter: str | None = None,
    ) -> str:
        """Go on with a text and return what follows it; without a text, begin one.

        >>> model.generate("import ", max_tokens=20, temperature=0)

        `sampling` sets everything about the draw; the other three change single fields of it.
        Raises: ContextLengthError if the text is longer than the model can read.
        """
        own = self.under(adapter)
        prompt, default = own.continuation(text)
        chosen = override(sampling or default, max_tokens=max_tokens, temperature=temperature, seed=seed)
        return own.engine.submit(prompt, chosen).result().text or ""

    def generate_stream(
        self,
        text: str = "",
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        sampling: SamplingConfig | None = None,
        adapter: str | None = None,
    ) -> Iterator[str]:
        """Go on with a text, piece by piece; the pieces joined are what `generate` returns.

        >>> for piece in model.generate_stream("import "):
        ...     print(piece, end="", flush=True)
        """
        own = self.under(adapter)
        prompt, default = own.continuation(text)
        chosen = override(sampling or default, max_tokens=max_tokens, temperature=temperature, seed=seed)
        return stream_text(own.engine, prompt, chosen)

    def chat(
        self,
        messages: str | Sequence[ChatMessage],
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        sampling: SamplingConfig | None = None,
        adapter: str | None = None,
    ) -> str:
        """Return the assistant's next message in a conversation, or its answer to a single question.

        >>> model.chat([{"role": "user", "content": "What does textwrap.shorten do?"}])

        Raises: ConfigError if the model was not taught to talk; DataError for messages that are no conversation.
        """
        own = self.under(adapter)
        prompt, default = own.reply_prompt(messages)
        chosen = override(sampling or default, max_tokens=max_tokens, temperature=temperature, seed=seed)
        return own.engine.submit(prompt, chosen).result().text or ""

    def chat_stream(
        self,
        messages: str | Sequence[ChatMessage],
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        sampling: SamplingConfig | None = None,
        adapter: str | None = None,
    ) -> Iterator[str]:
        """Return the assistant's next message piece by piece; the pieces joined are what `chat` returns."""
        own = self.under(adapter)
        prompt, default = own.reply_prompt(messages)
        chosen = override(sampling or default, max_tokens=max_tokens, temperature=temperature, seed=seed)
        return stream_text(own.engine, prompt, chosen)

    def draw(
        self,
        text: str,
        *,
        num: int = 1,
        guidance_scale: float | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        sampling: SamplingConfig | None = None,
        adapter: str | None = None,
    ) -> list[Image]:
        """Draw pictures of what a text asks for, each from a seed of its own that follows from `seed`.

        >>> model.draw("手写数字七", num=16, guidance_scale=2.0)

        Raises: ConfigError if the model was not taught to draw; InputError for a blank wish or a number below 1.
        """
        if num < 1:
            raise InputError(f"num={num} pictures cannot be drawn; ask for 1 or more.")
        own = self.under(adapter)
        task = own.task_of_kind("image_generation")
        chosen = override(sampling or own.sampling_for(task.name), temperature=temperature, seed=seed)
        if guidance_scale is not None:
            chosen = replace(chosen, guidance_scale=guidance_scale)
        predictions = own.answer(task.name, [task.example_from_text(text)] * num, sampling=chosen)
        return [prediction.image for prediction in predictions if prediction.image is not None]

    def bits_per_byte(self, texts: Sequence[str], *, adapter: str | None = None) -> float:
        """Return how many bits the model needs for each byte of these texts; lower is better, 8 is no knowledge at all.

        Each text is read from its beginning; longer ones than the model can read at once in overlapping windows.
        Raises: InputError if there is no text.
        """
        num_bytes = sum(len(text.encode("utf-8")) for text in texts)
        if not num_bytes:
            raise InputError("bits per byte need at least one text that is not empty.")
        return sum(self.under(adapter).engine.bits(texts)) / num_bytes

    def embed(
        self,
        texts: str | Sequence[str],
        *,
        pooling: Literal["mean", "last"] = "mean",
        layer: int = -1,
        normalise: bool = True,
        split_long_texts: bool = True,
        adapter: str | None = None,
    ) -> NDArray[np.float32]:
        """Return one vector for each text, made of the hidden states of its tokens; a single text gives one row.

        >>> vectors = model.embed(["three days ago", "三天前"])
        >>> vectors[0] @ vectors[1]  # the cosine, for they have length 1

        `pooling` takes the mean of all tokens, or the last one. `layer` 0 is the embeddings, n what n blocks have made
        of them; negative ones count from the end, and -1 is after the final norm. A text that is longer than the model
        can read at once is read in windows, whose mean is its vector, or refused.
        Shapes: (texts, D).
        Raises: InputError for an empty text; ContextLengthError for a long one where none is split; ConfigError for a
        layer the model does not have.
        """
        how = EmbeddingConfig(
            pooling=Pooling(pooling), layers=(layer,), normalises=normalise, splits_long_texts=split_long_texts
        )
        vectors = self.under(adapter).engine.embed([texts] if isinstance(texts, str) else texts, how)
        return np.asarray(vectors[:, 0].numpy(), dtype=np.float32)

    def close(self) -> None:
        """Stop answering; what has not been answered fails."""
        self.engine.close()

    def __enter__(self) -> LoadedModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def continuation(self, text: str) -> tuple[Prompt, SamplingConfig]:
        """Return the prompt of a text that goes on, and how it is drawn unless asked otherwise."""
        tasks = (task for task in self.tasks.values() if isinstance(task, LanguageModeling))
        # Any model can go on with a text, because plain text is laid out without a task token.
        task = next(tasks, LanguageModeling(name="text"))
        # Cutting off the end of a text and going on from there would answer another question.
        whole = replace(task, truncate=False)
        prompt = whole.prompt(TextExample(text=text), self.vocabulary, max_tokens=self.max_seq_len)
        return prompt, self.description.sampling.get(task.name) or default_sampling(task.kind)

    def reply_prompt(self, messages: str | Sequence[ChatMessage]) -> tuple[Prompt, SamplingConfig]:
        """Return the prompt of a conversation that goes on, and how it is drawn unless asked otherwise."""
        task = self.task_of_kind("dialogue")
        if isinstance(messages, str):
            example = task.example_from_text(messages)
        else:
            example = task.parse({"messages": [dict(message) for message in messages]}, with_answer=False)
        return self.prompt(task.name, example), self.sampling_for(task.name)
