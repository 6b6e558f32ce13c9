from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra.errors import UsageError
from astra.utils import utcnow, version_integer_to_string, version_string_to_integer


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.8.1", 8001),
        ("0.6.0", 6000),
        ("0.0.0", 0),
        ("1.2.3", 1002003),
        ("12.34.56", 12034056),
        ("2147.483.647", 2**31 - 1),
        (" 0.8.1 ", 8001),
    ],
)
def test_a_version_is_one_integer(text: str, number: int) -> None:
    assert version_string_to_integer(text) == number
    assert version_integer_to_string(number) == text.strip()


@given(st.tuples(st.integers(0, 2146), st.integers(0, 999), st.integers(0, 999)))
def test_every_version_comes_back_and_sorts(parts: tuple[int, int, int]) -> None:
    text = ".".join(map(str, parts))
    number = version_string_to_integer(text)

    assert version_integer_to_string(number) == text
    assert number // 1000 == parts[0] * 1000 + parts[1]


@pytest.mark.parametrize(
    "text",
    ["", "0.8", "0.8.1.2", "0.8.x", "v0.8.1", "0.8.-1", "0.1000.0", "0.0.1000", "2148.0.0",
     "2147.483.648", "٠.٨.١", "0. 8.1", "0.8.1\0"],
)  # fmt: skip
def test_what_is_no_version_is_an_error_that_shows_it(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        version_string_to_integer(text)

    assert repr(text) in str(raised.value)


@pytest.mark.parametrize("number", [-1, 2**31, 2**40])
def test_an_integer_that_no_version_has(number: int) -> None:
    with pytest.raises(UsageError, match=str(number)):
        version_integer_to_string(number)


def test_the_time_is_utc_without_a_zone() -> None:
    assert utcnow().tzinfo is None
