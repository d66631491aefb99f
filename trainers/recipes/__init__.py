"""The recipes that a user's space starts from. Inside the project, import each name from the file that defines it."""

from trainers.recipes.joint import JOINT, pcgrad, plain, smart

__all__ = ["JOINT", "pcgrad", "plain", "smart"]
