# python scripts/train_encoder.py --data npz:FILE@train --out encoder.safetensors
# python scripts/train_encoder.py --data folder:IMAGES --size 28 --code 256 --critic --out encoder.safetensors
"""Train a convolutional autoencoder on images without labels and write its encoder, for tasks.encoder=FILE."""

from unsupervised_update_rules.commands import train_encoder
from unsupervised_update_rules.commands.entry import run

if __name__ == "__main__":
    run(train_encoder.main)
