"""Replication of papers' claims: a recipe of arms and seeds, pre-registered outcomes, and the results."""

from scalpel.claims.claim import Claim, every, read
from scalpel.claims.page import fill, page
from scalpel.claims.run import result_of, run_claim

__all__ = ["Claim", "every", "fill", "page", "read", "result_of", "run_claim"]
