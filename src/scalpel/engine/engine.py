"""Engine: one policy, the models beside it, and the modules that parts own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from math import inf
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

import scalpel.engine.head_terms  # noqa: F401  (registers the head terms)
from scalpel.batch import POLICY, Batch, Row, lay
from scalpel.device import SMALL
from scalpel.engine.activation_memory import kept_a_token, running_twice
from scalpel.engine.backward_cost import BackwardCost
from scalpel.engine.cost_meter import CostMeter
from scalpel.engine.decoders import rows_for
from scalpel.engine.head import head, head_agrees, head_bytes
from scalpel.engine.micro_batches import packed_pieces, padded_pieces
from scalpel.engine.onednn_prepack import prepacked
from scalpel.engine.packed_forward import hidden, packs, shares
from scalpel.engine.padded_forward import autocast, device_of, scatter
from scalpel.engine.prefix_tree import (
    WORTH,
    PrefixTree,
    distinct,
    lay_out,
)
from scalpel.engine.recompute_layers import lean
from scalpel.engine.sampler import Sampler
from scalpel.engine.sampling_request import (
    Request,
    Sample,
    Sampling,
    Stops,
    check_limits,
)
from scalpel.engine.vllm_sampler import VllmSampler
from scalpel.part import HeadTerm, Need, Out, OwnedHead, Unit

if TYPE_CHECKING:
    from scalpel.data.tokenizer import Tokens

log = logging.getLogger("scalpel")
Rows = Sequence[tuple[Sequence[int], Sequence[int]]]  # (prompt ids, completion ids)
LOGP: frozenset[Need] = frozenset({"logp"})
EVERY: Tensor | slice = slice(None)
WORTH_A_PASS = {"cpu": 1024}  # padded tokens from which a micro-batch is worth its overhead, by device
WORTH_A_LAUNCH = 65536  # the same where a pass is many kernel launches


class Engine:
    """Runs models. `others` are frozen models by role (reference, teacher, …) with the same tokenizer.

    `precision` is "float32" or "bfloat16" (arithmetic; weights stay as they are). `micro_tokens` bounds the
    tokens of one forward pass.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokens: Tokens,
        *,
        others: Mapping[str, PreTrainedModel] | None = None,
        precision: str = "float32",
        micro_tokens: int = 16384,
        sample_rows: int = 256,
    ) -> None:
        self.model, self.tokens = model, tokens
        self.others = dict(others or {})
        self.off: dict[str, Callable[[], AbstractContextManager[None]]] = {}  # what the policy stands for
        self.owned = nn.ModuleDict()
        self.served: VllmSampler | None = None  # what samples in the policy's place
        self.precision, self.micro_tokens, self.sample_rows = precision, micro_tokens, sample_rows
        self.meter = CostMeter()
        self.reach = BackwardCost()  # of a backward pass
        self.room, self.kept = inf, 0.0  # bytes for what layers keep for it; what they keep of a token
        if sum(p.numel() for p in model.parameters()) >= SMALL:
            lean(model)
        self.verify_heads()

    def equip(
        self,
        *,
        off: Mapping[str, Callable[[], AbstractContextManager[None]]],
        others: Mapping[str, PreTrainedModel],
        owned: nn.ModuleDict,
        micro_tokens: int,
        served: VllmSampler | None,
    ) -> None:
        """What a stage computes with: frozen models by role, `off` for those that the policy itself stands for while
        its scope is switched off, the modules that parts own, and what samples in the policy's place."""
        self.off, self.others, self.owned = dict(off), dict(others), owned
        self.micro_tokens, self.served = micro_tokens, served
        self.verify_heads()

    def verify_heads(self) -> None:
        """Refuses a model whose logits aren't its head's, since every number here goes through the head."""
        for role, model in {"policy": self.model, **self.others}.items():
            if not head_agrees(model):
                raise ValueError(
                    f"the {role} model ({type(model).__name__}) changes its logits after the head in a way "
                    f"that is not known here, so log-probs would be wrong; use another architecture"
                )

    @property
    def device(self) -> torch.device:
        return device_of(self.model)

    def autocast(self) -> AbstractContextManager:
        return autocast(self.precision, self.device)

    # --- training ---------------------------------------------------------------------------------------

    def forward(self, batch: Batch, needs: Iterable[Need] = LOGP, ahead_N: Tensor | None = None) -> Out:
        """The named outputs for the trained tokens of a batch, differentiable unless under no_grad. `ahead_N` is
        ∂L/∂log p where it is known: the head then makes its gradients at once."""
        needs = frozenset(needs) | LOGP
        batch = batch.to(self.device)
        at_n = batch.train_N.nonzero()[:, 0]
        if len(at_n) == 0:
            zero_N = torch.zeros(batch.N, device=self.device)
            return Out(zero_N, zero_N, zero_N.long(), zero_N[:, None], {t: zero_N for t in terms_of(needs)})
        with self.autocast():
            layout = self.layout(batch)
            asked_n, again_n = at_n, EVERY
            if not torch.is_grad_enabled():
                asked_n, layout, again_n = distinct(at_n, layout, batch.ids_N)
            with self.sparing(layout.M):
                h_nD = self._hidden(self.model, batch, asked_n, layout)
            beside = {}
            with torch.no_grad():
                for role in sorted({t.other for t in terms_of(needs) if t.other}):
                    with self.model_of(role) as other:
                        beside[role] = (other, self._hidden(other, batch, asked_n, layout))
            ahead_n = None if ahead_N is None else ahead_N.to(self.device)[at_n]
            owned = [need for need in needs if isinstance(need, OwnedHead)]
            found = head(self.model, h_nD, batch.ids_N[asked_n], needs.difference(owned), beside, ahead_n)
            found |= {need: self.owned[need.name](h_nD.float())[:, 0] for need in owned}
            outputs = {need: x_n[again_n] for need, x_n in found.items()}
            value_nK = self.owned["value"](h_nD.float())[again_n] if "value" in needs else None
        for model, _ in beside.values():
            self.meter.forward(model, layout.spans)
        spent = self.meter.forward(self.model, layout.spans)
        if torch.is_grad_enabled():
            self.meter.backward(self.model, spent, layout.M, self.reach)
            self.meter.tokens_trained += len(at_n)
        return scatter(outputs, value_nK, at_n, batch.N)

    def keep_within(self, room: float) -> None:
        """How many bytes the layers may keep for a backward pass; a micro-batch that needs more runs them twice."""
        with self.autocast():
            self.room, self.kept = room, kept_a_token(self.model) if room < inf else 0.0

    def sparing(self, tokens: int) -> AbstractContextManager:
        if not torch.is_grad_enabled() or self.kept * tokens <= self.room:
            return nullcontext()
        if self.room > 0.0:
            mega, room = self.kept * tokens / 1e6, max(self.room, 0.0) / 1e6
            log.info("layers run twice: %d tokens would keep %.0f MB, there is room for %.0f MB", tokens, mega, room)
            self.room = 0.0  # said once; a stage that is short of memory stays so
        return running_twice(self.model)

    def head_bytes(self, tokens: int, needs: Iterable[Need] = LOGP, ahead: bool = False) -> float:
        """Bytes that the head takes at most over so many trained tokens, forward and backward."""
        needs = frozenset(needs) | LOGP
        beside = {t.other: self.others.get(t.other, self.model) for t in terms_of(needs) if t.other}
        with self.autocast():
            return head_bytes(self.model, tokens, needs, beside, ahead)

    def layout(self, batch: Batch) -> PrefixTree:
        """What has to be computed for the trained tokens of a batch; common beginnings once, where that is allowed: the
        same ids may be shown blended with others."""
        worth = WORTH if shares(self.model) and batch.mix_N is None else inf
        return lay_out(batch.input_N, batch.seq_N, batch.train_N.nonzero()[:, 0], worth)

    def size(self, batch: Batch) -> int:
        """Tokens of a forward pass over the batch as it is, padding included where it is needed."""
        if packs(self.model):
            return self.layout(batch).M
        return batch.S * int(torch.bincount(batch.seq_N).max())

    def _hidden(self, model: PreTrainedModel, batch: Batch, at_n: Tensor, layout: PrefixTree) -> Tensor:
        return hidden(model, batch, at_n, layout, self.tokens.pad_id)

    @torch.no_grad()
    def score(self, batch: Batch, role: str = "policy", needs: Iterable[Need] = LOGP) -> Out:
        """Outputs without gradients, micro-batch by micro-batch, for the policy or a model beside it."""
        if not bool(batch.train_N.any()):
            return self.forward(batch, needs)
        outs, order = [], []
        with self.standing_in(role), self.quiet():
            for index_s in self.micro(batch, "sequence"):
                outs.append(self.forward(batch.pick(index_s), needs))
                order.append(index_s)
        return join(outs, batch, torch.cat(order))

    @contextmanager
    def standing_in(self, role: str):
        """The model of another role takes the policy's place for a while."""
        policy = self.model
        try:
            with self.model_of(role) as self.model:
                yield self
        finally:
            self.model = policy

    @contextmanager
    def model_of(self, role: str) -> Iterator[PreTrainedModel]:
        """The model of a role for a pass without gradients: one beside, or the policy without what its scope added."""
        if role in self.off:
            with self.off[role](), self.quiet():
                yield self.model
        else:
            yield self.model if role == "policy" else self.others[role]

    @contextmanager
    def quiet(self):
        """Dropout off."""
        training = self.model.training
        self.model.eval()
        try:
            yield self
        finally:
            self.model.train(training)

    def micro(self, batch: Batch, unit: Unit, parts: int = 1) -> list[Tensor]:
        """Splits a batch into micro-batches (index tensors over S) of at most `micro_tokens` tokens and at least
        `parts` pieces; a pair or group is never split. Padding counts where the model can't do without."""
        if packs(self.model):
            return packed_pieces(batch, unit, parts, self.micro_tokens)
        worth = WORTH_A_PASS.get(self.device.type, WORTH_A_LAUNCH)
        return padded_pieces(batch, unit, parts, self.micro_tokens, worth)

    # --- sampling and measuring -------------------------------------------------------------------------

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        n: int = 1,
        seed: int = 0,
        limits: Sequence[int] | None = None,
        done: Callable[[int, list[Sample]], None] | None = None,
    ) -> list[list[Sample]]:
        """n samples of each prompt, of at most `limits[p]` tokens where that is given; `done(p, samples)` is called
        as soon as those of prompt p are complete. In float32 a sample depends on (seed, its place in the list), not
        on what else is in the batch. Where vLLM serves the policy it samples, with the same results but for its own
        random numbers. Raises ValueError for an empty prompt or one that fills the context."""
        room = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        limits = check_limits(prompts, limits, sampling.max_tokens, room)
        if not prompts:
            return []
        stops = Stops(self.tokens.stop_ids, sampling.stop, self.tokens.text)
        request = Request(prompts, limits, sampling, n, seed, stops, done or ignore)
        if self.served is not None and self.served.model is self.model:
            found = self.served.sample(request)
        else:
            found = self._sample(request)
        written = [len(s.ids) for group in found for s in group]
        self.meter.sampled(self.model, [len(p) for p in prompts], written)
        return found

    def _sample(self, request: Request) -> list[list[Sample]]:
        n, longest, limit = request.n, max(map(len, request.prompts)), max(request.limits)
        most = min(len(request.prompts), max(1, self.sample_rows // n))
        rows = rows_for(self.model, n, most, longest, limit, self.tokens.pad_id)
        with self.quiet(), self.autocast(), prepacked(self.model, self.precision, most * n * limit):
            return Sampler(rows, request).run()

    def moved(self) -> None:
        """Is told that the policy's weights are others now."""
        if self.served is not None:
            self.served.stale = True

    def completions(self, rows: Rows) -> Batch:
        """Rows of (prompt, completion) as a batch whose completions are marked."""
        return lay(
            [
                Row(
                    [*prompt, *completion],
                    [False] * len(prompt) + [True] * len(completion),
                    [POLICY] * (len(prompt) + len(completion)),
                )
                for prompt, completion in rows
            ]
        )

    def logps(self, rows: Rows) -> list[list[float]]:
        """The log-prob of each completion token."""
        if not rows:
            return []
        batch = self.completions(rows)
        return per_row(self.score(batch).logp_N.cpu(), rows)

    def first_choices(self, rows: Rows) -> list[list[bool]]:
        """For each completion token, whether it is the model's first choice."""
        if not rows:
            return []
        batch = self.completions(rows)
        argmax_N = self.score(batch, needs={"argmax"}).argmax_N
        assert argmax_N is not None
        return [[x == 1.0 for x in row] for row in per_row((argmax_N.cpu() == batch.ids_N).float(), rows)]

    def kl(self, rows: Rows, reference: Engine) -> list[float]:
        """Exact KL(this ‖ reference) in nats, averaged over the completion tokens of each row."""
        if not rows:
            return []
        term = HeadTerm("reverse_kl", "measured-against")
        self.others["measured-against"] = reference.model
        try:
            out = self.score(self.completions(rows), needs={term})
        finally:
            del self.others["measured-against"]
        return [sum(row) / max(len(row), 1) for row in per_row(out.terms[term].cpu(), rows)]


def ignore(p: int, samples: list[Sample]) -> None:
    """Nobody listens."""


def terms_of(needs: Iterable[Need]) -> list[HeadTerm]:
    return [need for need in needs if isinstance(need, HeadTerm)]


def per_row(x_N: Tensor, rows: Rows) -> list[list[float]]:
    """Cuts a per-token tensor back into the completions of its rows."""
    values, found, at = x_N.tolist(), [], 0
    for prompt, completion in rows:
        found.append(values[at + len(prompt) : at + len(prompt) + len(completion)])
        at += len(prompt) + len(completion)
    return found


def join(outs: Sequence[Out], batch: Batch, order_S: Tensor) -> Out:
    """Puts the outputs of micro-batches back into the order of the whole batch."""
    length_S = torch.bincount(batch.seq_N, minlength=batch.S)
    start_S = length_S.cumsum(0) - length_S
    places = [torch.arange(int(start_S[s]), int(start_S[s] + length_S[s])) for s in order_S]
    token_n = torch.cat(places) if places else torch.zeros(0, dtype=torch.long)

    def whole(parts: list[Any]) -> Any:
        if not parts or parts[0] is None:
            return None
        x = torch.cat(parts)
        return torch.empty_like(x).index_copy(0, token_n.to(x.device), x)

    terms = {term: whole([o.terms[term] for o in outs]) for term in (outs[0].terms if outs else {})}
    return Out(
        whole([o.logp_N for o in outs]),
        whole([o.entropy_N for o in outs]),
        whole([o.argmax_N for o in outs]),
        whole([o.value_NK for o in outs]),
        terms,
    )
