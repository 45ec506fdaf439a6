"""The kinds of raw data that `pinfm prepare` reads."""
