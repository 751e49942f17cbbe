"""How many users, over which lines, with how many GPUs: arithmetic before anything is bought."""
