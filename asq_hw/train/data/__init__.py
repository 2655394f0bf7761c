"""Batches of images, and the images that a network was trained on."""
