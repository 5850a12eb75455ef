"""A whole Debian 12, booted in a container, as the machine that zsofs is installed on."""
