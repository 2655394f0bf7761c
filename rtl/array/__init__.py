"""Arrays of multiply-accumulate units: channels that share their activations."""
