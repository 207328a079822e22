"""The entropy bonus beside its formula on whole logits, behind a policy gradient on samples of unequal lengths."""

import pytest
import torch

import material
import tiny
from formula_parity import agree, logits_of, stream_of


@pytest.mark.parametrize("pieces", [1, 3])
def test_it_is_the_mean_entropy_over_all_tokens_beside_the_loss_of_the_samples(pieces: int) -> None:
    engine = material.engine(seed=0)
    policy = {"source": {"name": "groups", "size": 4}, "credit": ["group-mean"], "objective": "nll"}
    stream = stream_of(signals=[policy, {"objective": "entropy", "weight": 0.3}])
    batch = stream.source(material.uneven(material.context(engine)))
    model = tiny.model(seed=0)
    logits_nV, target_n = logits_of(model, batch)
    p_nV = logits_nV.log_softmax(-1)
    mean_S = torch.stack([batch.reward_S[batch.group_S == g].mean() for g in batch.group_S])
    credit_n = (batch.reward_S - mean_S).repeat_interleave(batch.length_S.long())
    assert len(batch.length_S.unique()) > 3 and len(credit_n.unique()) > 2
    gain = (credit_n * p_nV.gather(1, target_n[:, None])[:, 0]).mean()
    agree(engine, stream, batch, pieces, -gain + 0.3 * (p_nV.exp() * p_nV).sum(-1).mean(), model)
