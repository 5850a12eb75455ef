"""How often tests do the same: a few times as a rule, very often with ``--thorough``."""

_thorough = False


def choose(*, thorough: bool) -> None:
    """Choose for all tests; called by conftest.py before it imports them."""
    global _thorough  # noqa: PLW0603 - decorators ask for it when their module is imported
    _thorough = thorough


def rounds(usual: int, thorough: int) -> int:
    """Return how often to do something, which fails with the usual number too, if less surely."""
    return thorough if _thorough else usual
