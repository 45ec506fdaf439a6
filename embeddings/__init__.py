"""Ids to vectors: hashing, table specifications, TorchRec collections, the sharding plan."""
