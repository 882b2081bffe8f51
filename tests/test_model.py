"""The model of the outbox protocol: it has no error with the code's constants, and an error without each of its rules.

The searches are for `make proof`. They need SPIN and gcc, and fail without them.
"""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from gisttracker.config import settings
from tests.model.check import (
    MODEL,
    MUTATIONS,
    SECOND_LINES,
    SHOWN_SECONDS,
    TICK_SECONDS,
    Constants,
    Mutation,
    Property,
    read_constants,
    simulate,
    verify,
)
from tests.model.events import read_story
from tests.model.trace import find_violations

# The second POST in the air, which the protocol never has.
UNREACHABLE = {"-end-", "p = 1", "sent_by[1] = 0"}
SAFETY, LIVENESS = Property.SAFETY, Property.LIVENESS


def test_the_constants_are_those_of_the_code() -> None:
    ticks = read_constants().in_ticks(SAFETY)

    assert ticks["SETTLE"] * TICK_SECONDS == settings.SETTLE_SECONDS
    assert ticks["LEASE"] * TICK_SECONDS == settings.LEASE_SECONDS
    assert ticks["SEND"] * TICK_SECONDS == read_constants().send
    assert ticks["SHOWN"] * TICK_SECONDS == SHOWN_SECONDS


def test_a_changed_setting_changes_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "SETTLE_SECONDS", 30)

    assert read_constants().in_ticks(SAFETY)["SETTLE"] == 1


def test_parts_of_a_tick_are_rounded_to_the_weaker_side() -> None:
    constants = Constants(send=61, settle=119, lease=119, shown=91)

    assert constants.in_ticks(SAFETY) == {"SEND": 3, "SETTLE": 3, "LEASE": 3, "SHOWN": 4}
    assert constants.in_ticks(LIVENESS)["SEND"] == 2


def test_each_mutation_of_the_model_is_checked() -> None:
    names = re.findall(r"^#(?:if|ifdef|ifndef|elif) .*", MODEL.read_text(), re.MULTILINE)
    in_model = set(re.findall(r"[A-Z][A-Z_]+", "".join(names))) - {"SEND", "SETTLE", "LEASE", "SHOWN", "LIVENESS"}

    assert in_model == {mutation.name for mutation in MUTATIONS + SECOND_LINES}


def test_without_spin_the_check_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(RuntimeError, match="apt-get install spin gcc"):
        verify(read_constants(), SAFETY)


# --- searches ---
@pytest.mark.proof
@pytest.mark.parametrize("checked", Property, ids=lambda checked: checked.value)
def test_the_protocol_has_no_error(checked: Property) -> None:
    result = verify(read_constants(), checked)

    assert result.errors == 0, result
    assert result.is_complete, result
    assert result.unreached <= UNREACHABLE


@pytest.mark.proof
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_without_this_rule_there_is_an_error(mutation: Mutation) -> None:
    result = mutation.verify(read_constants())

    assert result.errors == 1, result
    if mutation.breaks is SAFETY:
        assert find_violations(read_story(result.story, read_constants()), read_constants()), result.story


@pytest.mark.proof
@pytest.mark.parametrize("mutation", SECOND_LINES, ids=lambda mutation: mutation.name)
def test_a_second_line_of_defence_is_not_needed(mutation: Mutation) -> None:
    result = mutation.verify(read_constants())

    assert result.errors == 0, result
    assert result.is_complete, result


@pytest.mark.proof
@pytest.mark.parametrize(
    ("wrong", "breaks"),
    [
        ({"settle": 119}, SAFETY),
        ({"settle": 0}, SAFETY),
        ({"shown": 91}, SAFETY),
        ({"lease": 59}, LIVENESS),
        ({"lease": 0}, LIVENESS),
        ({"send": 29}, LIVENESS),
    ],
    ids=str,
)
def test_with_a_wrong_constant_there_is_an_error(wrong: dict[str, float], breaks: Property) -> None:
    assert verify(replace(read_constants(), **wrong), breaks).errors == 1


@pytest.mark.proof
@pytest.mark.parametrize(("send", "errors"), [(30, 0), (31, 1)])
def test_a_settle_time_from_started_must_cover_the_time_to_send(send: float, errors: int) -> None:
    constants = replace(read_constants(), send=send, settle=SHOWN_SECONDS + 60)

    assert verify(constants, SAFETY, "SETTLE_FROM_STARTED").errors == errors


@pytest.mark.proof
def test_the_checker_of_traces_allows_what_the_model_does() -> None:
    for seed in range(1, 31):
        events = list(read_story(simulate(read_constants(), seed, steps=20_000), read_constants()))

        assert find_violations(events, read_constants()) == [], seed
        assert len(events) > 1000
