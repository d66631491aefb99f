"""Tests of the project. They run side by side, each with one thread: idle threads of several processes disturb all."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # first: libraries read it when they are imported, and processes inherit it
