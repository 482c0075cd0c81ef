# python scripts/tune_baselines.py --data npz:FILE@train npz:OTHER@train
# python scripts/tune_baselines.py --data npz:FILE@train --methods vae contrastive --tasks 20
"""Choose the settings of the hand-written methods by their few-shot accuracy on data that rules are trained on."""

from unsupervised_update_rules.commands.entry import run_command

if __name__ == "__main__":
    run_command("tune_baselines")
