"""The models of gateways, codecs and limits; tests/pipeline/test_config.py has their every word."""

import pytest
from pydantic import ValidationError

from reassembly.settings import Codec, EngineSettings, Gateway, Limits

LEG = {"from": "172.16.23.1", "to": "172.16.23.2:9000", "headers": ["proxy-v2"]}


def test_problems_between_values_are_errors_of_the_model_too() -> None:
    with pytest.raises(ValidationError) as caught:
        EngineSettings.model_validate({"gateways": [{**LEG, "headers": ["proxy-v2", "ours"]}]})
    [error] = caught.value.errors()
    assert error["loc"] == ("gateways", 0, "headers", 1)
    assert error["msg"].startswith("no codec is called 'ours'")


@pytest.mark.parametrize("model", [EngineSettings, Gateway, Codec, Limits])
def test_every_field_says_what_it_is(model: type[EngineSettings]) -> None:
    assert all(field.description for field in model.model_fields.values())


def test_settings_do_not_change() -> None:
    settings = EngineSettings.model_validate({"gateways": [LEG]})
    with pytest.raises(ValidationError, match="frozen"):
        settings.mode = "restore"
