"""Requests for logs that do not tell what was shown: what was chosen, among items that were not."""
