"""Measures zsofs beside its peers; see RESULTS.md for what came out."""
