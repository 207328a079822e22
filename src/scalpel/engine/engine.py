"""Engine: the policy, the models beside it, and everything that is asked of them.

Numbers come from packed batches through the policy's forward pass (`policy.py`). Sampling has a path of its own, token
by token with a KV cache, over the policy's transformer (`decoders.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from math import inf
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

import scalpel.engine.head_terms  # noqa: F401  (registers the head terms)
from scalpel.batch import Batch
from scalpel.device import SMALL
from scalpel.engine.activation_memory import ActivationBudget, kept_a_token
from scalpel.engine.backward_cost import BackwardCost
from scalpel.engine.cost_meter import CostMeter
from scalpel.engine.decoders import rows_for
from scalpel.engine.head import head_agrees, head_bytes
from scalpel.engine.head_sizes import DEFAULT as DEFAULT_SIZES
from scalpel.engine.head_sizes import HeadSizes
from scalpel.engine.micro_batches import packed_pieces, padded_pieces
from scalpel.engine.onednn_prepack import prepacked
from scalpel.engine.outputs import Rows, completions, join, nothing, per_row, spread, terms_of
from scalpel.engine.packed_forward import packs, shares
from scalpel.engine.padded_forward import autocast, device_of
from scalpel.engine.policy import Packed, Policy, Requests
from scalpel.engine.prefix_tree import WORTH, PrefixTree, distinct, lay_out
from scalpel.engine.recompute_layers import recompute_layers
from scalpel.engine.sampler import Sampler
from scalpel.engine.sampling_request import Request, Sample, Sampling, Stops, check_limits
from scalpel.engine.vllm_sampler import VllmSampler
from scalpel.part import HeadTerm, Need, Out, OwnedHead, Unit

if TYPE_CHECKING:
    from scalpel.data.tokenizer import Tokens

LOGP: frozenset[Need] = frozenset({"logp"})
EVERY: Tensor | slice = slice(None)
WORTH_A_PASS = {"cpu": 1024}  # padded tokens from which a micro-batch is worth its overhead, by device
WORTH_A_LAUNCH = 65536  # the same where a pass is many kernel launches


class Engine:
    """Runs the policy around `model`. `others` are frozen models by role (reference, teacher, …) with the same
    tokenizer.

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
        head_sizes: HeadSizes = DEFAULT_SIZES,
    ) -> None:
        self.policy, self.tokens = Policy(model), tokens
        self.wrapped: nn.Module = self.policy  # what a forward pass calls: the policy or a wrapper around it
        self.others = policies(others or {})
        self.scope_off: dict[str, Callable[[], AbstractContextManager[None]]] = {}  # roles that the policy plays itself
        self.external_sampler: VllmSampler | None = None  # a sampler that serves the policy
        self.precision, self.micro_tokens, self.sample_rows = precision, micro_tokens, sample_rows
        self.head_sizes = head_sizes
        self.meter = CostMeter()
        self.cost_of_backward = BackwardCost()
        self.activations = ActivationBudget()
        if sum(p.numel() for p in model.parameters()) >= SMALL:
            recompute_layers(model)
        self.verify_heads()

    @property
    def model(self) -> PreTrainedModel:
        """The policy's transformer, under whose names weights are saved and scopes attached."""
        return self.policy.transformer

    @property
    def owned(self) -> nn.ModuleDict:
        """The modules that parts own; they belong to the policy."""
        return self.policy.owned

    @owned.setter
    def owned(self, modules: nn.ModuleDict) -> None:
        self.policy.owned = modules

    def equip(
        self,
        *,
        scope_off: Mapping[str, Callable[[], AbstractContextManager[None]]],
        others: Mapping[str, PreTrainedModel],
        owned: nn.ModuleDict,
        micro_tokens: int,
        external_sampler: VllmSampler | None,
    ) -> None:
        """Sets what a stage computes with: frozen models by role, `scope_off` for the roles that the policy plays
        itself while its scope is switched off, the modules that parts own, and the sampler that serves the policy, if
        any. A wrapper around the policy is removed, since it was made for the parameters of the earlier stage."""
        self.scope_off, self.others, self.owned = dict(scope_off), policies(others), owned
        self.micro_tokens, self.external_sampler = micro_tokens, external_sampler
        self.wrapped = self.policy
        self.verify_heads()

    def wrap(self, by: Callable[[Policy], nn.Module]) -> nn.Module:
        """Wraps the policy, for example with one of `distributed.wrap`, and returns the wrapper, which every forward
        pass then calls. Whether models can run packed is tested before, because that test calls the transformer by
        itself, and under FSDP2 weights are whole only within a call of the policy. The same holds for
        `limit_activations`, `equip` and `backward_cost`: they must come before."""
        for policy in (self.policy, *self.others.values()):
            packs(policy.transformer)
        self.wrapped = by(self.policy)
        return self.wrapped

    def verify_heads(self) -> None:
        """Refuses a model that changes its logits after the head in an unknown way: the engine calls the head itself,
        so its log-probs would not be the model's."""
        for role, policy in {"policy": self.policy, **self.others}.items():
            if not head_agrees(policy.transformer):
                raise ValueError(
                    f"the {role} model ({type(policy.transformer).__name__}) changes its logits after the head in a "
                    f"way that is not known here, so log-probs would be wrong; use another architecture"
                )

    @property
    def device(self) -> torch.device:
        return device_of(self.model)

    def autocast(self) -> AbstractContextManager:
        return autocast(self.precision, self.device)

    # --- training ---------------------------------------------------------------------------------------

    def forward(self, batch: Batch, needs: Iterable[Need] = LOGP, slope_N: Tensor | None = None) -> Out:
        """The named outputs for the trained tokens of a batch, differentiable unless under no_grad. `slope_N` is
        ∂L/∂log p where it is known: the head then computes its gradients in the forward pass. A batch without trained
        tokens runs no model; under DDP or FSDP2 the other ranks would wait for it, so each must have trained tokens."""
        needs = frozenset(needs) | LOGP
        batch = batch.to(self.device)
        if not bool(batch.train_N.any()):
            return nothing(batch.N, self.device, needs)
        packed, again_n = self.packed(batch, after=any(t.after for t in needs if isinstance(t, OwnedHead)))
        at_n = batch.train_N.nonzero()[:, 0]
        slope_n = None if slope_N is None else slope_N.to(self.device)[at_n]
        with self.autocast():
            others = self.beside(needs, packed)
            with self.activations.within(self.model, packed.layout.M):
                numbers = self.wrapped(packed, Requests(needs, others, slope_n, self.head_sizes))
        self.pay([model for model, _ in others.values()], packed)
        return spread({need: x_n[again_n] for need, x_n in numbers.items()}, at_n, batch.N)

    def packed(self, batch: Batch, after: bool = False) -> tuple[Packed, Tensor | slice]:
        """A batch as it is computed, and where among its asked tokens each trained one is found. Without gradients a
        token that occurs twice behind the same beginning is asked for once. `after`: whether the states of the tokens
        themselves are read, too."""
        at_n, layout, again_n = batch.train_N.nonzero()[:, 0], self.layout(batch, after), EVERY
        if not (torch.is_grad_enabled() or after):
            at_n, layout, again_n = distinct(at_n, layout, batch.ids_N, batch.temperature_N)
        return Packed(batch, at_n, layout, self.tokens.pad_id, after), again_n

    def beside(self, needs: Iterable[Need], packed: Packed) -> dict[str, tuple[PreTrainedModel, Tensor]]:
        """The other models that head terms need, by role, with their hidden states at the asked tokens. Their heads
        are read later, in the policy's forward pass. Under FSDP2 that works because the root's group, which holds the
        head, stays gathered after a pass without gradients."""
        found = {}
        for role in sorted({t.other for t in terms_of(needs) if t.other}):
            with self.policy_of(role) as other:
                found[role] = (other.transformer, other.hidden_states(packed))
        return found

    def pay(self, others: Sequence[PreTrainedModel], packed: Packed) -> None:
        """Adds the cost of a pass to the meter."""
        for model in others:
            self.meter.forward(model, packed.layout.spans)
        spent = self.meter.forward(self.model, packed.layout.spans)
        if torch.is_grad_enabled():
            self.meter.backward(self.model, spent, packed.layout.M, self.cost_of_backward)
            self.meter.tokens_trained += len(packed.at_n)

    def limit_activations(self, available: float) -> None:
        """Sets how many bytes of activations the layers may keep for a backward pass; a micro-batch that needs more is
        run with gradient checkpointing."""
        with self.autocast():
            self.activations = ActivationBudget(available, kept_a_token(self.model) if available < inf else 0.0)

    def head_bytes(self, tokens: int, needs: Iterable[Need] = LOGP, ahead: bool = False) -> float:
        """Bytes that the head takes at most over so many trained tokens, forward and backward."""
        needs = frozenset(needs) | LOGP
        beside = {t.other: self.others.get(t.other, self.policy).transformer for t in terms_of(needs) if t.other}
        with self.autocast():
            return head_bytes(self.model, tokens, needs, beside, ahead, self.head_sizes)

    def layout(self, batch: Batch, after: bool = False) -> PrefixTree:
        """What must be computed for the trained tokens of a batch; common prefixes once, where the model allows it."""
        worth = WORTH if shares(self.model) else inf
        return lay_out(batch.shown_N, batch.seq_N, batch.train_N.nonzero()[:, 0], worth, after=after)

    def size(self, batch: Batch) -> int:
        """Tokens of a forward pass over the batch as it is, padding included where it is needed."""
        if packs(self.model):
            return self.layout(batch).M
        return batch.S * int(torch.bincount(batch.seq_N).max())

    @torch.no_grad()
    def score(self, batch: Batch, role: str = "policy", needs: Iterable[Need] = LOGP) -> Out:
        """Outputs without gradients, micro-batch by micro-batch, for the policy or a model beside it."""
        if not bool(batch.train_N.any()):
            return self.forward(batch, needs)
        outs, order = [], []
        with self.acting_as(role), self.without_dropout():
            for index_s in self.micro(batch, "sequence"):
                outs.append(self.forward(batch.pick(index_s), needs))
                order.append(index_s)
        return join(outs, batch, torch.cat(order))

    @contextmanager
    def acting_as(self, role: str) -> Iterator[Engine]:
        """Within this context the policy of another role takes the policy's place, for scoring and sampling."""
        before = self.policy, self.wrapped
        with self.policy_of(role) as policy:
            self.policy = policy
            self.wrapped = before[1] if policy is before[0] else policy
            try:
                yield self
            finally:
                self.policy, self.wrapped = before

    @contextmanager
    def policy_of(self, role: str) -> Iterator[Policy]:
        """The policy of a role, for a pass without gradients: a frozen one, or this one with its scope switched off."""
        if role in self.scope_off:
            with self.scope_off[role](), self.without_dropout():
                yield self.policy
        else:
            yield self.policy if role == "policy" else self.others[role]

    @contextmanager
    def without_dropout(self):
        """Within this context the policy is in evaluation mode, so that dropout is off."""
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
        context_length = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        limits = check_limits(prompts, limits, sampling.max_tokens, context_length)
        if not prompts:
            return []
        stops = Stops(self.tokens.stop_ids, sampling.stop, self.tokens.text)
        request = Request(prompts, limits, sampling, n, seed, stops, done or ignore)
        if self.external_sampler is not None and self.external_sampler.model is self.model:
            found = self.external_sampler.sample(request)
        else:
            found = self._sample(request)
        written = [len(s.ids) for group in found for s in group]
        self.meter.sampled(self.model, [len(p) for p in prompts], written)
        return found

    def _sample(self, request: Request) -> list[list[Sample]]:
        """Decoding with a KV cache calls the transformer, not the policy: it needs a cache that the policy's forward
        pass has no place for. Under FSDP2 it must run within `distributed.wrap.gathered`."""
        n, longest, limit = request.n, max(map(len, request.prompts)), max(request.limits)
        most = min(len(request.prompts), max(1, self.sample_rows // n))
        rows = rows_for(self.model, n, most, longest, limit, self.tokens.pad_id)
        with self.without_dropout(), self.autocast(), prepacked(self.model, self.precision, most * n * limit):
            return Sampler(rows, request).run()

    def moved(self) -> None:
        """Must be called after a change of the policy's weights, for a sampler that holds a copy of them."""
        if self.external_sampler is not None:
            self.external_sampler.stale = True

    def logps(self, rows: Rows) -> list[list[float]]:
        """The log-prob of each completion token."""
        if not rows:
            return []
        batch = completions(rows)
        return per_row(self.score(batch).logp_N.cpu(), rows)

    def first_choices(self, rows: Rows) -> list[list[bool]]:
        """For each completion token, whether it is the model's first choice."""
        if not rows:
            return []
        batch = completions(rows)
        argmax_N = self.score(batch, needs={"argmax"}).argmax_N
        assert argmax_N is not None
        return [[x == 1.0 for x in row] for row in per_row((argmax_N.cpu() == batch.ids_N).float(), rows)]

    def kl(self, rows: Rows, reference: Engine) -> list[float]:
        """Exact KL(this ‖ reference) in nats, averaged over the completion tokens of each row."""
        if not rows:
            return []
        term = HeadTerm("reverse_kl", "measured-against")
        self.others["measured-against"] = reference.policy
        try:
            out = self.score(completions(rows), needs={term})
        finally:
            del self.others["measured-against"]
        return [sum(row) / max(len(row), 1) for row in per_row(out.terms[term].cpu(), rows)]


def ignore(p: int, samples: list[Sample]) -> None:
    """The default for `done`: a caller that waits for all samples."""


def policies(models: Mapping[str, PreTrainedModel]) -> dict[str, Policy]:
    return {role: Policy(model) for role, model in models.items()}
