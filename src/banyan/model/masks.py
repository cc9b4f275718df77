"""Who sees whom: one boolean mask per batch, shared by all layers."""

from __future__ import annotations

import torch
from torch import Tensor


def attention_mask(
    *,
    seq_len: int,
    segment_ids_BT: Tensor | None = None,
    attend_until_BT: Tensor | None = None,
    sliding_window: int | None = None,
    is_causal: bool = False,
    device: torch.device | None = None,
) -> Tensor | None:
    """Return which keys each query may read, or None where "itself and all before it" says the same.

    A query t reads a key s of its own segment if s <= max(t, attend_until[t]) and, with a window, s > t - window.
    `is_causal` says what `is_plain_causal` has found before the batch went to where its values cannot be looked at.
    Shapes: segment_ids, attend_until (B, T); returns (B or 1, 1, T, T), True where the key may be read.
    """
    window = sliding_window if sliding_window is not None and sliding_window < seq_len else None
    if window is None and (is_causal or is_plain_causal(segment_ids_BT, attend_until_BT)):
        return None
    place_T = torch.arange(seq_len, device=device)
    last_BT = place_T[None] if attend_until_BT is None else torch.maximum(attend_until_BT, place_T)
    mask_BTS = place_T <= last_BT[:, :, None]
    if window is not None:
        mask_BTS = mask_BTS & (place_T > place_T[:, None] - window)
    if segment_ids_BT is not None:
        mask_BTS = mask_BTS & (segment_ids_BT[:, :, None] == segment_ids_BT[:, None, :])
    return mask_BTS[:, None]


def is_plain_causal(segment_ids_BT: Tensor | None, attend_until_BT: Tensor | None) -> bool:
    """Return whether every real position sees exactly itself and all before it.

    The values are only looked at on the CPU and outside of compiled code: elsewhere one would have to wait for them.
    """
    given = [ids for ids in (segment_ids_BT, attend_until_BT) if ids is not None]
    if given and (given[0].device.type != "cpu" or torch.compiler.is_compiling()):
        return False
    if attend_until_BT is not None and (attend_until_BT > torch.arange(attend_until_BT.shape[1])).any():
        return False
    if segment_ids_BT is None:
        return True
    return bool(((segment_ids_BT == segment_ids_BT[:, :1]) | (segment_ids_BT < 0)).all())
