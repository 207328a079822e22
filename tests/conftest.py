"""One thread, so that numbers repeat; no test that fails on a slow machine; this folder on the path, so that every test
finds its helpers; and signals as a terminal gives them, since whoever starts tests in the background may have had some
ignored, which processes of the tests would inherit."""

import signal

import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
