"""Nothing is built and unreachable: what no command, recipe key or public function leads to is found and deleted."""

from __future__ import annotations

import pytest

from tests.reachability import Uses, unpassed_options, unused_definitions, unused_fields, uses

ALLOWED = {
    "models.decoders.afdec.Decoded.fused_features": "a tuple's third member, read by unpacking",
    "f2pnet.backends.simulated.device.order_fault": "makes a simulated device fail, to show what a line does then",
    "pipeline.store.audit.verify.verify(works=)": "whether the line runs: a test has no line",
}
HANDED_IN_BY_TESTS = ("(clock=)", "(rng=)", "(sleep=)")
"""Time and randomness are parameters, so that tests do not wait and do not vary."""


@pytest.fixture(scope="module")
def found() -> Uses:
    return uses()


def _not_allowed(listed: list[str]) -> list[str]:
    return [name for name in listed if name not in ALLOWED and not name.endswith(HANDED_IN_BY_TESTS)]


def test_every_function_class_and_constant_is_used(found: Uses) -> None:
    assert _not_allowed(list(unused_definitions(found))) == []


def test_every_recipe_key_and_field_is_read(found: Uses) -> None:
    assert _not_allowed(list(unused_fields(found))) == []


def test_every_option_of_a_function_is_passed_somewhere(found: Uses) -> None:
    assert _not_allowed(list(unpassed_options(found))) == []


def test_the_allowed_list_names_only_what_is_found(found: Uses) -> None:
    assert set(ALLOWED) <= {*unused_definitions(found), *unused_fields(found), *unpassed_options(found)}
