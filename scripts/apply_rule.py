# python scripts/apply_rule.py --rule runs/quickstart/rule.safetensors --data folder:IMAGES --size 14 --out features.npz
# python scripts/apply_rule.py --rule FILE --data csv:FILE --out features.npz --network-out network.safetensors
# python scripts/apply_rule.py --network-in network.safetensors --data csv:NEW --out new_features.npz
"""Train a base network on unlabelled data with an update rule, and write the features that it gives each example."""

from unsupervised_update_rules.commands.entry import run_command

if __name__ == "__main__":
    run_command("apply_rule")
