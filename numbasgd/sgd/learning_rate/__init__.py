"""The learning rate that ``lr="auto"`` finds, and what it is found with."""
