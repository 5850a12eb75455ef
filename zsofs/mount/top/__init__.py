"""`zsofs top`: what is read now, and why reads were slow."""

__all__ = ["command"]
