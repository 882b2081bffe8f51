"""How many may change, or fail, for reasons of their own. More are an outage, or a mistake of ours."""

FEW = 5
FIFTH = 0.2


def is_few(count: int, total: int, *, part: float = FIFTH) -> bool:
    """At most five, or at most this part of them all."""
    return count <= max(FEW, part * total)
