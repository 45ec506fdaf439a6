"""The forms of interaction, a file each; `table.py` beside this folder has their names."""
