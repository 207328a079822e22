"""The frozen Batch: whole sequences laid end to end, without padding.

Legend of the axis letters that end a tensor's name, here and in every part:

    N  tokens of the batch, all sequences end to end
    S  sequences          K  rewards or value heads of one sequence
    G  group              V  vocabulary
    D  width              C  chunk of tokens inside the engine
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

DEMONSTRATION, POLICY, ENVIRONMENT, TEMPLATE = range(4)  # the authors of a token
PREFERRED, NEITHER, REJECTED = 1, 0, -1  # the labels of a sequence
MEAN_EMBEDDING = -1  # in `mix_ids_N`: the mean of all input embeddings, in place of one of them


@dataclass(frozen=True)
class Row:
    """One sequence before it is packed into a batch. All lists have the length of `ids`."""

    ids: Sequence[int]
    train: Sequence[bool]
    author: Sequence[int]
    turn: Sequence[int] | None = None
    group: int = 0
    label: int = NEITHER
    rewards: Sequence[float] | None = None
    behaviour: Sequence[float] | None = None  # log-probs at sampling time, 0 where not sampled
    inside: Sequence[float] | None = None  # rewards within the sequence
    content: Sequence[int] | None = None  # what stands behind a token that is more than its id (`content_id`), else 0
    continues: bool = False  # whether it belongs to the same episode as the row before it
    temperature: Sequence[float] | None = None  # at which a token was sampled, 1 where it was not
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """What travels from source to objective. `x_N[t]` speaks of token t, predicted from the tokens before it
    in its own sequence; a first token is never trained.

    `ids_N` are the targets, `input_N` what the model is shown (a corruption may change it). Fields that are
    None are not filled: the loop fills `old_N`, `old_value_N` and `reference_N` for parts that read them.
    """

    ids_N: Tensor
    input_N: Tensor
    train_N: Tensor
    author_N: Tensor
    turn_N: Tensor
    seq_N: Tensor
    group_S: Tensor
    label_S: Tensor
    reward_SK: Tensor | None = None
    reward_N: Tensor | None = None
    credit_N: Tensor | None = None  # product of the signal's credits, detached
    behaviour_N: Tensor | None = None  # log-probs by the sampler
    old_N: Tensor | None = None  # log-probs by the trainer, before the first update on this batch
    old_value_N: Tensor | None = None
    reference_N: Tensor | None = None  # log-probs by the reference model
    mix_ids_N: Tensor | None = None  # shown blended with input_N: (1 − mix) · E[input] + mix · E[mix_ids]
    mix_N: Tensor | None = None
    content_N: Tensor | None = None  # identifies what a token shows beyond its id, such as a patch of an image; 0: none
    temperature_N: Tensor | None = None  # of the distribution whose log-probs are meant; None is 1
    episode_S: Tensor | None = None  # the episode that a sequence belongs to; None: each is an episode of its own
    lost_S: Tensor | None = None  # how many episodes of a sequence's group were left out, since nothing rewarded them
    whole_S: Tensor | None = None  # trained tokens of each sequence, where some of them were left out of `train_N`
    columns: tuple[Mapping[str, Any], ...] = ()

    @property
    def S(self) -> int:
        return self.group_S.shape[0]

    @property
    def N(self) -> int:
        return self.ids_N.shape[0]

    @property
    def shown_NC(self) -> Tensor:
        """[N, C], integers: all that decides what the model is shown at a token, one column each. Tokens of equal rows
        and equal history have the same hidden state, so prefix sharing and the log-prob cache compare these rows, never
        ids alone: an image's placeholder has the same id whatever the image is."""
        columns = [self.input_N] if self.content_N is None else [self.input_N, self.content_N]
        if self.mix_N is not None and self.mix_ids_N is not None:
            share_N = (
                self.mix_N.float().contiguous().view(torch.int32).long()
            )  # by its bits, so that nothing is rounded
            columns += [torch.where(self.mix_N == 0, 0, self.mix_ids_N), share_N]
        return torch.stack(columns, 1)

    @property
    def shown_N(self) -> Tensor:
        """[N], a number for each row of `shown_NC`, equal within this batch where the rows are; the ids themselves
        where nothing else is shown."""
        shown_NC = self.shown_NC
        return shown_NC[:, 0] if shown_NC.shape[1] == 1 else shown_NC.unique(dim=0, return_inverse=True)[1]

    @property
    def reward_S(self) -> Tensor:
        """[S]: the sum of a sequence's rewards; NaN (does not apply) counts as 0."""
        assert self.reward_SK is not None, "this batch carries no rewards"
        return self.reward_SK.nan_to_num(0.0).sum(1)

    def rewarded(self) -> Batch:
        """The batch without the sequences that no reward applies to, which is what their siblings are compared in."""
        if self.reward_SK is None or not self.S:
            return self
        none_S = self.reward_SK.isnan().all(1)
        if not bool(none_S.any()):
            return self
        group_S, (first_E, _) = self.dense_group_S(), self.episodes()
        lost_G = torch.bincount(group_S[first_E[none_S[first_E]]], minlength=int(group_S.max()) + 1)
        return replace(self, lost_S=lost_G[group_S]).pick((~none_S).nonzero()[:, 0])

    @property
    def length_S(self) -> Tensor:
        """Trained tokens of each sequence, those included that were left out since they have no credit."""
        return self.sum_S(self.train_N.float()) if self.whole_S is None else self.whole_S

    def sum_S(self, x_N: Tensor) -> Tensor:
        """Sums a per-token tensor over the trained tokens of each sequence."""
        x_N = torch.where(self.train_N, x_N, 0.0)
        return x_N.new_zeros(self.S).index_add(0, self.seq_N, x_N)

    def mean_S(self, x_N: Tensor) -> Tensor:
        """Averages over the trained tokens of each sequence; 0 where it has none."""
        return self.sum_S(x_N) / self.length_S.clamp(min=1)

    def broadcast(self, x_S: Tensor) -> Tensor:
        """Gives every token the value of its sequence."""
        return x_S[self.seq_N]

    def dense_group_S(self) -> Tensor:
        """Group numbers without gaps, 0 … groups−1."""
        return torch.unique(self.group_S, return_inverse=True)[1]

    def episodes(self) -> tuple[Tensor, Tensor]:
        """The first sequence of each episode, and the number of each sequence's episode, 0 … episodes−1."""
        if self.episode_S is None:
            every = torch.arange(self.S, device=self.group_S.device)
            return every, every
        episode_S = torch.unique(self.episode_S, return_inverse=True)[1]
        every = torch.arange(self.S, device=episode_S.device)
        first_E = every.new_full((int(episode_S.max()) + 1,), self.S).scatter_reduce(0, episode_S, every, "amin")
        return first_E, episode_S

    def episode_sum(self, x_S: Tensor) -> Tensor:
        """[S]: the sum of x over all sequences of a sequence's episode."""
        if self.episode_S is None:
            return x_S
        first_E, episode_S = self.episodes()
        return x_S.new_zeros(len(first_E)).index_add(0, episode_S, x_S)[episode_S]

    def group_moments(self, x_S: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, unbiased standard deviation and size of each sequence's group, all [S], over the group's episodes: an
        episode that was split into several sequences is one member, whose value is that of its first sequence."""
        first_E, episode_S = self.episodes()
        mean_E, std_E, size_E = group_moments(x_S[first_E], self.dense_group_S()[first_E])
        return mean_E[episode_S], std_E[episode_S], size_E[episode_S]

    def places(self, seq_s: Tensor) -> tuple[Tensor, Tensor]:
        """Where the tokens of these sequences are, in this order, and the new number of each one's sequence."""
        length_S = torch.bincount(self.seq_N, minlength=self.S)
        start_S = length_S.cumsum(0) - length_S
        new_seq_n = torch.repeat_interleave(torch.arange(len(seq_s), device=seq_s.device), length_S[seq_s])
        first_n = (length_S[seq_s].cumsum(0) - length_S[seq_s])[new_seq_n]
        return start_S[seq_s][new_seq_n] + torch.arange(len(new_seq_n), device=seq_s.device) - first_n, new_seq_n

    def pick(self, seq_s: Tensor) -> Batch:
        """The sub-batch of these sequences, in this order. Sequence numbers are renewed; group numbers may keep
        gaps."""
        seq_s = seq_s.to(self.group_S.device)
        token_n, new_seq_N = self.places(seq_s)
        index = {"_N": token_n, "_S": seq_s, "SK": seq_s}
        picked: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Tensor):
                picked[f.name] = value[index[f.name[-2:]]]
        picked["seq_N"] = new_seq_N
        if self.columns:
            picked["columns"] = tuple(self.columns[int(s)] for s in seq_s)
        return replace(self, **picked)

    def to(self, device: torch.device | str) -> Batch:
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {name: x.to(device) for name, x in held.items() if isinstance(x, Tensor)}
        return replace(self, **moved)


def pack(rows: Sequence[Row]) -> Batch:
    """Packs rows end to end, without padding. The first token of each row becomes untrained, whatever the row says."""
    for row in rows:
        lists = (row.train, row.author, row.turn, row.behaviour, row.inside, row.content, row.temperature)
        assert all(x is None or len(x) == len(row.ids) for x in lists), f"lists of unequal length in {row}"
    flat = lambda name: [x for row in rows for x in getattr(row, name)]  # noqa: E731
    length_S = torch.tensor([len(row.ids) for row in rows], dtype=torch.long)
    seq_N = torch.repeat_interleave(torch.arange(len(rows)), length_S)
    ids_N = torch.tensor(flat("ids"), dtype=torch.long)
    train_N = torch.tensor(flat("train"), dtype=torch.bool)
    if len(rows):
        starts = (length_S.cumsum(0) - length_S)[length_S > 0]
        train_N[starts] = False
    turn = [t for row in rows for t in (row.turn if row.turn is not None else [0] * len(row.ids))]
    continued = any(row.continues for row in rows)
    assert not (continued and rows[0].continues), "the first row continues no episode"
    rewards = None
    if rows and all(row.rewards is not None for row in rows):
        rewards = torch.tensor([list(row.rewards or ()) for row in rows], dtype=torch.float32)
    return Batch(
        ids_N=ids_N,
        input_N=ids_N.clone(),
        train_N=train_N,
        author_N=torch.tensor(flat("author"), dtype=torch.long),
        turn_N=torch.tensor(turn, dtype=torch.long),
        seq_N=seq_N,
        group_S=torch.tensor([row.group for row in rows], dtype=torch.long),
        episode_S=torch.tensor([not row.continues for row in rows]).cumsum(0) if continued else None,
        label_S=torch.tensor([row.label for row in rows], dtype=torch.long),
        reward_SK=rewards,
        reward_N=numbers(rows, "inside"),
        behaviour_N=numbers(rows, "behaviour"),
        content_N=numbers(rows, "content", 0),
        temperature_N=numbers(rows, "temperature", 1.0),
        columns=tuple(row.columns for row in rows),
    )


def numbers(rows: Sequence[Row], name: str, absent: float = 0.0) -> Tensor | None:
    """[N]: a list of each row, `absent` for those without one; None where no row has one."""
    lists = [getattr(row, name) for row in rows]
    if all(x is None for x in lists):
        return None
    return torch.tensor([v for row, x in zip(rows, lists, strict=True) for v in (x or [absent] * len(row.ids))])


def content_id(content: bytes) -> int:
    """A number for what a token shows beyond its id, for `Row.content`: equal for equal bytes, in every process and on
    every machine (Python's own `hash` of bytes isn't), and never 0, which means nothing. 63 bits of BLAKE2b."""
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big") >> 1 or 1


def group_moments(reward_S: Tensor, group_S: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, unbiased standard deviation and size of each sequence's group, all [S]."""
    G = int(group_S.max()) + 1
    size_G = torch.bincount(group_S, minlength=G).to(reward_S.dtype)
    mean_G = reward_S.new_zeros(G).index_add(0, group_S, reward_S) / size_G
    square_G = reward_S.new_zeros(G).index_add(0, group_S, (reward_S - mean_G[group_S]) ** 2)
    std_G = (square_G / (size_G - 1).clamp(min=1)).sqrt()
    return mean_G[group_S], std_G[group_S], size_G[group_S]
