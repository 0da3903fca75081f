"""Settings: command line before environment before default, refused where unsafe."""

from __future__ import annotations

import argparse

import pytest

from app.config import Settings, add_arguments, arguments_of, secrets_of, settings_of
from app.errors import SettingsError


def parsed(line: str, **environment: str) -> Settings:
    """Settings of a command line and an environment."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return settings_of(parser.parse_args(line.split()), environment)


def test_the_command_line_comes_before_the_environment_before_the_default() -> None:
    settings = parsed("--port 9000", PARLEY_PORT="9001", PARLEY_PACK="mine")
    assert (settings.port, settings.pack, settings.host) == (9000, "mine", "127.0.0.1")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("--port 70000", "port must be 0 to 65535"),
        ("--threads 0", "threads must be at least 1"),
        ("--workers 0", "workers must be at least 1"),
        ("--tls-cert a.pem", "belong together"),
        ("--tls-cert a.pem --tls-key b.pem", "there is no file a.pem"),
        ("--log-level loud", "log-level must be"),
        ("--engine fast", "engine must be vllm or empty, got 'fast'"),
    ],
)
def test_what_makes_no_sense_is_refused(line: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        parsed(line)


def test_keys_are_separated_by_commas() -> None:
    assert parsed("--host 0.0.0.0 --api-key one,two").api_keys == {"one", "two"}


def test_a_number_in_the_environment_must_be_one() -> None:
    with pytest.raises(SettingsError, match="PARLEY_PORT must be a whole number, got 'many'"):
        parsed("", PARLEY_PORT="many")


def test_settings_survive_the_way_to_another_process_and_keys_stay_off_its_command_line() -> None:
    settings = parsed("--port 9000 --host 0.0.0.0 --api-key secret --language-key other --threads 2")
    line = arguments_of(settings)
    assert "secret" not in line
    assert parsed(" ".join(line), **secrets_of(settings)) == settings


def test_a_value_that_looks_like_an_option_survives_the_way_too() -> None:
    settings = parsed("--engine vllm --vllm-arguments=--enforce-eager")
    assert settings.vllm_arguments == "--enforce-eager"
    assert parsed(" ".join(arguments_of(settings))) == settings


def test_every_setting_is_described() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert all(action.help for action in parser._actions)
