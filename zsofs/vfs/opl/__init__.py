"""The OPL layout: `DVD` and `CD` with the names that Open PS2 Loader expects."""

__all__ = ["given_names", "layout", "titles", "view"]
