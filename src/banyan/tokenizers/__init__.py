"""Text and pictures as ids: byte-level BPE, image codes, and the one id space they share."""
