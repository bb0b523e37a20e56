"""The autoencoder and the prior over its codes, their files, and those that ship with the package."""
