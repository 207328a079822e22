"""A cache of a frozen model's log-probs on sequences that occur again.

Preference pairs and demonstrations return every epoch with the same tokens. Samples of the policy don't, and are not
cached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from scalpel.batch import POLICY, Batch

MOST = 2**24  # tokens, 64 MiB
KEY = 16  # bytes


class LogprobCache:
    """Log-probs of trained tokens, by a hash of their sequence: inputs, targets and trained positions. In float32 on
    the CPU, for at most `most` tokens; a full cache keeps its entries, since with epochs in random order none is
    likelier to be needed than another."""

    def __init__(self, most: int = MOST) -> None:
        self.most, self.tokens = most, 0
        self.logp_n: dict[bytes, Tensor] = {}

    def logps(self, batch: Batch, score: Callable[[Batch], Tensor]) -> Tensor:
        """logp_N of a batch. Only sequences that are not in the cache are scored, by `score(batch) → logp_N`."""
        keys, found_N = keys_of(batch), torch.zeros(batch.N)
        new_s = torch.tensor([s for s, key in enumerate(keys) if key not in self.logp_n], dtype=torch.long)
        if len(new_s):
            found_N[batch.places(new_s)[0]] = score(batch.pick(new_s)).float().cpu()
        length_S = torch.bincount(batch.seq_N, minlength=batch.S).tolist()
        for key, mine_n, trained_n in zip(keys, found_N.split(length_S), batch.train_N.split(length_S), strict=True):
            if key in self.logp_n:
                mine_n[trained_n] = self.logp_n[key]
            elif key is not None:
                self.keep(key, mine_n[trained_n])
        return found_N

    def keep(self, key: bytes, logp_n: Tensor) -> None:
        if self.tokens + len(logp_n) <= self.most:
            self.logp_n[key] = logp_n.clone()
            self.tokens += len(logp_n)

    def state(self) -> dict[str, Any]:
        """For a checkpoint: log-probs that were computed again in other batches could differ by rounding, and a resumed
        run would not be bit-equal."""
        if not self.logp_n:
            return {}
        keys = torch.frombuffer(bytearray(b"".join(self.logp_n)), dtype=torch.uint8).view(-1, KEY)
        lengths = torch.tensor([len(x) for x in self.logp_n.values()])
        return {"keys": keys, "lengths": lengths, "logp": torch.cat(list(self.logp_n.values()))}

    def restore(self, saved: Mapping[str, Any]) -> None:
        self.logp_n, self.tokens = {}, 0
        if saved:
            rows = saved["logp"].split(saved["lengths"].tolist())
            for key, logp_n in zip(saved["keys"], rows, strict=True):
                self.keep(bytes(key.tolist()), logp_n)


def keys_of(batch: Batch) -> list[bytes | None]:
    """A hash of each sequence's content; None for samples of the policy and for batches with blended embeddings, which
    don't occur again."""
    if batch.mix_N is not None:
        return [None] * batch.S
    length_S = torch.bincount(batch.seq_N, minlength=batch.S).tolist()
    shown_NC = batch.shown_NC  # a batch with more columns can't collide with one of ids alone: its keys are longer
    fields = (shown_NC, batch.ids_N, batch.train_N, batch.author_N)
    found: list[bytes | None] = []
    for shown_nC, ids_n, train_n, author_n in zip(*(x.cpu().split(length_S) for x in fields), strict=True):
        if bool((author_n[train_n] == POLICY).any()):
            found.append(None)
            continue
        content = torch.cat([shown_nC.T, ids_n[None], train_n[None].long()])
        found.append(blake2b(content.numpy().tobytes(), digest_size=KEY).digest())
    return found
