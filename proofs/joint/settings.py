"""What is run: the short and the long form, the ablations, and what each task should score."""

from __future__ import annotations

from dataclasses import dataclass

CLASSIFIERS = (
    "ag_news", "thucnews", "question_type", "sst2", "imdb", "hotel_reviews", "shopping_sentiment", "shopping_category",
)  # fmt: skip
_SPANS = ("xquad_en", "xquad_zh", "cmrc", "subjqa")
_WRITERS = ("multi30k", "tatoeba", "dialogsum", "aeslc")
_TAGGERS = ("wnut17", "cluener")
COMPARED_BY = {"multi30k": "bleu/en>de", "tatoeba": "bleu/en>zh"}  # instead of the task's main score


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """One size of the main run."""

    name: str
    minutes: float
    seeds: tuple[int, ...]
    changes: tuple[str, ...] = ()  # of the recipe, as on the command line


SHORT = Form(name="short", minutes=90, seeds=(0, 1, 2))
# Of 190 million tokens, which is 8 hours on two cores, most go to tasks that write and tag: Multi30k's pairs are seen
# 14 times, CLUENER's sentences 16 times, DialogSum's talks 8 times, and classifiers' examples 3 to 15 times.
_LONG_RATES = (
    "prose: 0.0036, own_text: 0.042, ag_news: 0.057, thucnews: 0.059, question_type: 0.026, sst2: 0.095, imdb: 0.0057, "
    "hotel_reviews: 0.016, shopping_sentiment: 0.048, shopping_category: 0.048, wnut17: 0.0145, cluener: 0.057, "
    "multi30k: 0.288, tatoeba: 0.162, xquad_en: 0.002, xquad_zh: 0.002, cmrc: 0.006, subjqa: 0.0047, dialogsum: 0.032, "
    "aeslc: 0.024, instructions: 0.0028, booking: 0.0028"
)
LONG = Form(name="long", minutes=480, seeds=(0,), changes=(f"mixture.rates={{{_LONG_RATES}}}",))
FORMS = (SHORT, LONG)
TWIN_MINUTES = 10.0  # of the joint run; a twin has its task's part of it


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """The recipe with one thing changed."""

    name: str
    factor: str
    changes: tuple[str, ...] = ()  # as on the command line
    cost: float = 1.0  # of a step, against the recipe's: it makes that many times fewer of them


def _each(names: tuple[str, ...], key: str, value: str) -> tuple[str, ...]:
    return tuple(f"tasks.{name}.{key}={value}" for name in names)


_TASKS = ("prose", "own_text", "instructions", "booking", *CLASSIFIERS, *_SPANS, *_WRITERS, *_TAGGERS)
_NO_RATES = _each(_TASKS, "rate", "null")  # whatever shares the recipe gives
_MASKS_OFF = _each(("prose", "own_text"), "masks", "null")

ABLATIONS = (
    Setting(name="as the recipe is", factor="–"),
    Setting(name="equal shares", factor="mixing", changes=("mixture={method: equal}", *_NO_RATES)),
    Setting(
        name="running text first",
        factor="mixing",
        changes=(
            *_each(("prose", "own_text"), "rate", "null"),
            "mixture.schedule=[{at: 0.0, rates: {prose: 0.01, own_text: 0.3}}, "  # half of the tokens
            "{at: 0.4, rates: {prose: 0.002, own_text: 0.01}}]",
        ),
    ),
    Setting(name="no text of the tasks", factor="mixing", changes=("tasks.own_text.rate=0.000001",)),
    Setting(name="no tables of n-grams", factor="heads", changes=_each(CLASSIFIERS, "ngram_buckets", "0")),
    Setting(name="uncertainty", factor="balance", changes=("train.balance.method=uncertainty",)),
    Setting(name="FAMO", factor="balance", changes=("train.balance.method=famo",), cost=4 / 3),
    Setting(
        name="DB-MTL in four groups",
        factor="balance",
        changes=(
            "train.balance={method: db_mtl, groups: [[prose, own_text, instructions, booking], "
            f"[{', '.join(CLASSIFIERS)}], [{', '.join((*_TAGGERS, *_SPANS))}], [{', '.join(_WRITERS)}]]}}",
        ),
    ),
    Setting(name="R-Drop", factor="augmentation", changes=("train.r_drop=0.5", "model.dropout=0.1"), cost=2.0),
    Setting(name="text read causally alone", factor="masks", changes=_MASKS_OFF),
    Setting(
        name="everything read causally",
        factor="masks",
        changes=(*_MASKS_OFF, *_each((*CLASSIFIERS, *_SPANS, *_WRITERS, *_TAGGERS), "mask", "causal")),
    ),
    Setting(
        name="word dropout",
        factor="augmentation",
        changes=_each((*CLASSIFIERS, "multi30k", "tatoeba"), "augment", "{word_dropout: 0.1}"),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """What a task should score, in points of 100, and in which form."""

    task: str
    metric: str
    must: float
    goal: float
    must_in: Form
    goal_in: Form


def _short(task: str, must: float, goal: float) -> Goal:
    return Goal(task=task, metric="accuracy", must=must, goal=goal, must_in=SHORT, goal_in=LONG)


def _long(task: str, metric: str, must: float, goal: float) -> Goal:
    return Goal(task=task, metric=metric, must=must, goal=goal, must_in=LONG, goal_in=LONG)


GOALS = (
    _short("ag_news", 89.5, 91.5),
    _short("sst2", 82.5, 85),
    _short("question_type", 87.5, 91),
    _short("thucnews", 86, 89),
    _short("hotel_reviews", 87, 89),
    _short("shopping_sentiment", 92, 93.5),
    _short("shopping_category", 84.5, 87),
    _long("wnut17", "f1", 12, 20),
    _long("cluener", "f1", 45, 60),
    _long("multi30k", "bleu/en>de", 20, 30),
    _long("dialogsum", "rouge1", 24, 30),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class GoalBeside:
    """What a task must score beside a simple system that learned from the same examples."""

    task: str
    metric: str
    system: str
    times: float  # the system's score
    must_in: Form = LONG


GOALS_BESIDE = (
    *(GoalBeside(task=task, metric="f1", system="best fixed span", times=2) for task in _SPANS),
    GoalBeside(task="aeslc", metric="rouge1", system="first words", times=1),
)
