"""Continual learning: what keeps a policy from forgetting earlier phases while it learns the next.

One remedy a file, behind one protocol (`agents.continual.protocol`), each a configuration of its
own, and any of them together (`agents.continual.remedies`).
"""
