"""What a forecast is judged by in training; one file per family."""
