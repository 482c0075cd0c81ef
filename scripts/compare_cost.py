# python scripts/compare_cost.py --run NAME CONFIG [key=value ...] --run NAME CONFIG [key=value ...]
"""Time and memory of outer steps of several configs, in turns."""

from unsupervised_update_rules.commands.entry import run_command

if __name__ == "__main__":
    run_command("compare_cost")
