"""How far from the optimum is an agent on markets whose best policy is known?"""
