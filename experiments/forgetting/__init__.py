"""Do agents forget the regimes that they learned before, and what keeps them from it?"""
