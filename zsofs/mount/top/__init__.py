"""`zsofs top`: current reads, and the causes of slow reads."""

__all__ = ["command", "watched"]
