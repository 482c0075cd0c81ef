# python scripts/gradient_report.py --config configs/hebbian.yaml
# python scripts/gradient_report.py --config configs/hebbian.yaml --rule hebbian --estimator forward_mode
"""What the directions of several outer estimators are worth on the same tasks, and what they cost."""

from unsupervised_update_rules.commands.entry import run_command

if __name__ == "__main__":
    run_command("gradient_report")
