# python scripts/pages.py
# python scripts/pages.py --check
"""Recompute every claim of results/claims.yaml and write the pages of docs/results/ from the files in results/."""

from unsupervised_update_rules.commands.entry import run_command

if __name__ == "__main__":
    run_command("pages")
