"""The measurements of benchmarks/service.py, one module each. `measure` prints a table and gives its figures."""
