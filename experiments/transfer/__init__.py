"""Are options learned on two markets worth something on a third?"""
