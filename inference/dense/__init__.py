"""The dense part in eight bits: static scales from kept requests, and scores that no batch mate changes."""
