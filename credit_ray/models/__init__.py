"""Networks: one file for each architecture, and the seam that they share (`network`); `arguments` needs no torch."""
