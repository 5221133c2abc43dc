"""The compiled accounting kernel: N accounts over one market, one call a step.

The functions here are numba-compiled and know no Python object; `envs.simulator.Simulator` owns
the arrays and calls them. Formulae and their order stand in its docstring.
"""
