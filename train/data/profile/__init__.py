"""What kind of log a dataset is, measured by `prepare` for whoever chooses settings by it."""
