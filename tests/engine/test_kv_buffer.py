"""Room for keys and values: as long as needed, and what is in it stays."""

import torch

from scalpel.engine.kv_buffer import STEP, KVBuffer


def filled(dtype=torch.float32) -> KVBuffer:
    """Two layers, three places, five tokens of each."""
    store = KVBuffer(2, 3, 100)
    store.fit(5)
    for layer in range(2):
        for x in store.of(layer, torch.zeros(1, 2, 4, dtype=dtype)):
            x[:, :, :5] = torch.arange(120.0).view(3, 2, 5, 4) + layer
    return store


def held(store: KVBuffer, layer: int, tokens: int) -> list[torch.Tensor]:
    return [x[:, :, :tokens].clone() for x in store.of(layer, torch.zeros(1, 2, 4))]


def test_room_grows_in_steps_up_to_the_most_and_keeps_what_is_there():
    store = filled()
    before = [held(store, layer, 5) for layer in range(2)]
    for length, slots in ((STEP, STEP), (STEP + 1, 2 * STEP), (99, 100)):
        store.fit(length)
        assert store.slots == slots == store.of(0, torch.zeros(1, 2, 4))[0].shape[2]
        for layer in range(2):
            torch.testing.assert_close(held(store, layer, 5), before[layer])
    assert not store.of(1, torch.zeros(1, 2, 4))[0][:, :, 5:].any()


def test_room_is_given_back_when_much_of_it_is_empty():
    store = filled()
    before = held(store, 1, 5)
    store.fit(100)
    store.fit(80)
    assert store.slots == 100
    store.fit(6)
    assert store.slots == STEP
    torch.testing.assert_close(held(store, 1, 5), before)


def test_places_move_in_every_layer():
    store = filled()
    before = [held(store, layer, 5) for layer in range(2)]
    store.move([2, 1])
    for layer in range(2):
        for now, then in zip(held(store, layer, 5), before[layer], strict=True):
            torch.testing.assert_close(now[:2], then[[2, 1]])


def test_keys_are_exact_on_a_cpu_and_values_are_of_the_type_that_comes():
    key, value = filled(torch.bfloat16).of(0, torch.zeros(1, 2, 4, dtype=torch.bfloat16))
    assert key.dtype == torch.float32 and value.dtype == torch.bfloat16
