"""The battery of every method (tests/method_battery.py), on every other method, from the first on."""

import pytest

from method_battery import SAMPLE, MethodBattery, Stepped, name_of, stepped_of


class TestMethods(MethodBattery):
    @pytest.fixture(scope="class", params=SAMPLE[0::2], ids=name_of)
    def stepped(self, request, sums, tmp_path_factory) -> Stepped:
        return stepped_of(request.param, *sums, tmp_path_factory.mktemp("run"))
