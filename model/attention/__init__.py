"""DCAT's attention, one file for each way to compute it."""
