"""The battery of every method (tests/method_battery.py), on the methods that the other half leaves out."""

import pytest

from method_battery import SAMPLE, MethodBattery, Stepped, name_of, stepped_of


class TestMethods(MethodBattery):
    @pytest.fixture(scope="class", params=SAMPLE[1::2], ids=name_of)
    def stepped(self, request, sums, tmp_path_factory) -> Stepped:
        return stepped_of(request.param, *sums, tmp_path_factory.mktemp("run"))
