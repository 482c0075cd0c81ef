# python scripts/evaluate.py --rule runs/quickstart/rule.safetensors --data digits mnist5k
# python scripts/evaluate.py --rule FILE --data npz:FILE@test --ways 5 --shots 1 5 --baselines all --seeds 0 1 2
# python scripts/evaluate.py --data digits --baselines raw pca kmeans vae --readout ridge logistic --json results.json
# python scripts/evaluate.py --rule FILE --data digits --baselines random_network --sweep width --plot width.png
# python scripts/evaluate.py --rule hebbian neuron_local FILE --data digits
# python scripts/evaluate.py --rule FILE --data digits --ablate --baselines none
# python scripts/evaluate.py --rule FILE --data npz:FILE@test --readout own --encoder network.safetensors --ways 5
"""Compare update rules with each other and with other ways to features by few-shot accuracy, or these ways alone."""

from unsupervised_update_rules.commands.entry import run_command

if __name__ == "__main__":
    run_command("evaluate")
