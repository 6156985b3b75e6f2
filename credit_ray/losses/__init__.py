"""What a forecast is judged by in training: one file for each family, and the weights by place and channel."""
