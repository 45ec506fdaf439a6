"""Which id has which row: the two maps that managed ids can have."""
