"""What nature obeys: constraints that a step must satisfy, in physical units."""
