"""The world that `pinfm prepare simulate` makes: its users, its items and their lives, its files."""
