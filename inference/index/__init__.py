"""Retrieval: the catalogue's vectors beside a model, and the items that a user's vector is nearest to."""
