"""Managed ids in training."""
