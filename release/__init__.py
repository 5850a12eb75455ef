"""What is made from zsofs for others to install: manual pages, shell completion, packages."""
