# python scripts/train_encoder.py --data npz:FILE@train --out encoder.safetensors
# python scripts/train_encoder.py --data folder:IMAGES --size 28 --code 256 --critic --out encoder.safetensors
"""Train a convolutional autoencoder on images without labels and write an encoder for labellers."""

from unsupervised_update_rules.commands.entry import run_command

if __name__ == "__main__":
    run_command("train_encoder")
