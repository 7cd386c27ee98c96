"""DVC's graph seen from outside: its stages, running them, copies of the project to run them in."""
