"""The processes of the world, one file each. They import the standard library and each other, nothing else."""
