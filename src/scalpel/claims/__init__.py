"""Replication of papers' claims: a recipe of arms, outcomes that are written down before, and the results."""

from scalpel.claims.claim import Claim, every, read
from scalpel.claims.overnight import overnight
from scalpel.claims.page import fill, page
from scalpel.claims.result import faults, result_of
from scalpel.claims.run import Limit, run_claim

__all__ = ["Claim", "Limit", "every", "faults", "fill", "overnight", "page", "read", "result_of", "run_claim"]
