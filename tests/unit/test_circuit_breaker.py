"""CircuitBreaker and Backoff, by an injected clock."""

from __future__ import annotations

from _support.world import Clock

from s1crets._circuit_breaker import Backoff, CircuitBreaker


def test_a_failure_opens_the_circuit_for_a_rest() -> None:
    """Then the next call may try."""
    clock = Clock()
    breaker = CircuitBreaker(5, clock)
    assert not breaker.is_open
    breaker.failed()
    clock.now += 4.9
    assert breaker.is_open
    clock.now += 0.1
    assert not breaker.is_open


def test_pauses_double_up_to_a_limit() -> None:
    """Per key; a success ends them, and the next failure is a first one again."""
    clock = Clock()
    backoff = Backoff(1, 4, timer=clock)
    assert not backoff.is_waiting("a")
    for pause in (1, 2, 4, 4):
        backoff.failed("a")
        clock.now += pause - 0.01
        assert backoff.is_waiting("a")
        assert not backoff.is_waiting("b")
        clock.now += 0.01
        assert not backoff.is_waiting("a")
    backoff.succeeded("a")

    assert [backoff.failed("a"), backoff.failed("a")] == [True, False]


def test_jitter_shortens_pauses() -> None:
    """By the given part at most."""
    clock = Clock()
    backoff = Backoff(1, 1, jitter=0.5, timer=clock)
    for key in range(100):
        backoff.failed(key)
    clock.now += 0.49
    assert all(backoff.is_waiting(key) for key in range(100))
    clock.now += 0.26
    assert 0 < sum(backoff.is_waiting(key) for key in range(100)) < 100
    clock.now += 0.25
    assert not any(backoff.is_waiting(key) for key in range(100))
