"""One thread, so that numbers repeat; this folder on the path, so that every test finds its helpers."""

import torch

torch.set_num_threads(1)
