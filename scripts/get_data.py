# python scripts/get_data.py --list
# python scripts/get_data.py strokes icons
# python scripts/get_data.py all
"""Bring or build the data sets that configs and pages name, once; they are then found by their names."""

from unsupervised_update_rules.commands.entry import run_command

if __name__ == "__main__":
    run_command("get_data")
