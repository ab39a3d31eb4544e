"""Pre-training, fine-tuning and probing: thin loops on Lightning Fabric."""
