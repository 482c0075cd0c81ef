# python scripts/meta_train.py --config configs/quickstart.yaml
# python scripts/meta_train.py --config configs/quickstart.yaml run_dir=runs/mine seed=1 outer.clip=0.2
# python scripts/meta_train.py --config configs/quickstart.yaml run_dir=runs/mine seed=1 outer.clip=0.2 --resume
# torchrun --nproc-per-node 2 --max-restarts 3 scripts/meta_train.py --config configs/neuron_local.yaml
"""Meta-train an update rule as a config says; stop it at any time and go on with --resume."""

from unsupervised_update_rules.commands.entry import run_command

if __name__ == "__main__":
    run_command("meta_train")
