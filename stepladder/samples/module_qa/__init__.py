"""Questions about Ansible modules, from the documentation inside the PyPI wheels."""
