"""One thread, so that numbers repeat; no test that fails on a slow machine; this folder on the path, so that every test
finds its helpers."""

import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
