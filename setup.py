"""Package the search spaces, which lie beside the packages in a checkout, as `search.spaces`.

A top-level `spaces` in site-packages would hide a folder of the same name, or be hidden by it; there is also another
project of that name. All other settings are in pyproject.toml.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["model*", "search*", "trainers*"]), "search.spaces"],
    package_dir={"search.spaces": "spaces"},
)
