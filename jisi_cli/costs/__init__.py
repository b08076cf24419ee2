"""What was asked and what it cost: charges, sums of them, and what a reference model would have cost."""
