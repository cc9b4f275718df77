"""The signals that a run may give, and what each one usually means, in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from banyan.core.registry import Registry

Action = Literal["reported", "skipped", "rescaled", "rewound", "rate_lowered", "scores_shrunk", "stopped"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Signal:
    """One thing that can be wrong with a run."""

    means: str  # what is seen
    cause: str  # what it usually comes from
    advice: str  # what a person can do


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A signal that was given: how strong, and against which bound."""

    signal: str
    value: float
    threshold: float
    where: str | None = None  # a task, a weight or a layer


SIGNALS: Registry[Signal] = Registry("signal")


def _add(name: str, means: str, *, cause: str, advice: str) -> None:
    SIGNALS.add(name, Signal(means=means, cause=cause, advice=advice))


_add(
    "not_finite",
    "the loss or the gradient was not a number",
    cause="a value overflowed: a learning rate too high, or a broken row in the batch",
    advice="look at the rows of the batch; if they are fine, lower the learning rates",
)
_add(
    "bad_batch",
    "one batch had a far higher loss than all others, while the model still answers earlier ones well",
    cause="rows that do not belong to the data: another language, a broken file, noise",
    advice="look at the rows of the batch and clean the data they come from",
)
_add(
    "wrong_targets",
    "the targets no longer fit the inputs: batch after batch is answered wrongly by a model that is sound",
    cause="labels shuffled or shifted somewhere between the files and the batch",
    advice="look at the rows of the batch: do the answers belong to the questions?",
)
_add(
    "wrong_vocabulary",
    "the token ids are not those the model has learned",
    cause="data encoded with another tokenizer than the run began with",
    advice="prepare the data again with the run's own tokenizer",
)
_add(
    "diverged",
    "the loss rose and stayed high, on earlier batches too: the weights are no longer sound",
    cause="the learning rate is too high for the model at this point",
    advice="lower the learning rates, or warm up for longer",
)
_add(
    "chronic_spikes",
    "the loss spikes again and again",
    cause="the learning rate is at the edge of what the model bears, or the data holds many broken rows",
    advice="lower the learning rates and warm up for longer",
)
_add(
    "gradient_spike",
    "a gradient was many times longer than those before it",
    cause="an unusual batch, or weights near an edge",
    advice="nothing if it is rare; otherwise lower the learning rates",
)
_add(
    "layer_gradient",
    "one weight's gradient is more than a hundred times longer than the others'",
    cause="a layer near saturation, or a loss that reaches only that layer",
    advice="look at that layer; a lower learning rate or a longer warm-up often helps",
)
_add(
    "frozen_layer",
    "a weight that should learn no longer moves",
    cause="its gradient is cut off or it was taken out of the optimizer",
    advice="find out what changed requires_grad or the optimizer's groups; then start again",
)
_add(
    "update_too_large",
    "a weight changes by more than a tenth of its size in one step",
    cause="its learning rate is too high",
    advice="lower the learning rate of its group",
)
_add(
    "attention_logits",
    "attention scores have grown so large that each query reads a single key",
    cause="queries and keys without a norm, at a high learning rate",
    advice="use a preset with qk_norm, or lower the learning rates",
)
_add(
    "log_normaliser",
    "the scores of all words together drift away from zero",
    cause="nothing holds the output layer in place: late in long runs, at high learning rates",
    advice="lower the learning rate of the embeddings, or set model.logit_softcap where the preset has it",
)
_add(
    "dead_units",
    "units of a feed-forward layer answer nothing, whatever is put in",
    cause="a learning rate too high early in the run",
    advice="lower the learning rates or warm up for longer",
)
_add(
    "residual_growth",
    "the hidden states grow by more than fifty times from the first layer to the last",
    cause="layers add more and more; normal sizes are lost",
    advice="lower the learning rates, raise weight decay",
)
_add(
    "masked_batch",
    "a batch without a single target: nothing in it can be learned",
    cause="every answer was cut off or is empty",
    advice="look at the examples: raise train.seq_len or set max_source_tokens",
)
_add(
    "repeated_batch",
    "the same batch came again and again",
    cause="a data loader that stands still",
    advice="look at how the data is read; a fresh start of the run reads it anew",
)
_add(
    "mostly_padding",
    "more than half of what a batch holds is padding",
    cause="rows far longer than the examples, which are too long to be packed together, or not packed at all",
    advice="lower train.seq_len to what most examples need",
)
_add(
    "codebook_collapse",
    "pictures use only a few of the codes there are",
    cause="the picture tokenizer no longer tells pictures apart",
    advice="train the picture tokenizer again, with fewer codes or larger patches",
)
_add(
    "data_changed",
    "the tokens are distributed differently than before",
    cause="documents in order rather than shuffled, or a new kind of data",
    advice="nothing if you meant it; otherwise shuffle the data",
)
_add(
    "plateau",
    "the loss no longer falls although the learning rate has not",
    cause="the learning rate is too high for fine details or too low to move, or the model is too small",
    advice="let the learning rate fall earlier, or use a larger model",
)
_add(
    "over_fit",
    "the training loss falls while the validation score gets worse",
    cause="too few data for so many steps",
    advice="stop at the best checkpoint, raise dropout and weight decay, or add data",
)
_add(
    "stuck_start",
    "after 300 steps the model still knows no more than a guesser",
    cause="targets that do not fit the inputs, a wrong mask, or a learning rate near zero",
    advice="run `banyan train RECIPE --check`: it must be able to learn one batch by heart",
)
_add(
    "slow_step",
    "steps take half as long again as they did",
    cause="another program on the machine, or heat",
    advice="look at what else runs",
)
_add(
    "slow_input",
    "the model waits for its data for a fifth of the time",
    cause="a slow disk, or rows that are expensive to render",
    advice="prepare the data first (`banyan prepare`), or move it to a faster disk",
)
