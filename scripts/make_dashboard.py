# python scripts/make_dashboard.py --project unsupervised-update-rules
# python scripts/make_dashboard.py --json dashboard.json
"""Build wandb's workspace and report for meta-training runs."""

from unsupervised_update_rules.commands.entry import run_command

if __name__ == "__main__":
    run_command("make_dashboard")
