"""Turning ids into text one at a time, without ever showing half a character."""

from __future__ import annotations

import codecs

from banyan.tokenizers.vocabulary import Vocabulary


class IncrementalDecoder:
    """Decodes a stream of ids; all its pieces joined equal `vocabulary.decode` of all the ids."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._drops_space = vocabulary.text.starts_with_space  # until the first character has come

    def push(self, token_id: int) -> str:
        """Take one id and return the characters that are now complete, often one or more, sometimes none."""
        piece = self._decoder.decode(self._vocabulary.decode_bytes((token_id,)))
        if self._drops_space and piece:
            self._drops_space = False
            return piece.removeprefix(" ")
        return piece

    def flush(self) -> str:
        """End the stream: return what is left of an unfinished character as U+FFFD."""
        return self._decoder.decode(b"", final=True)
