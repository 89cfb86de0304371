"""Parity with the reference: `python -m models.golden DIR` compares every golden file in a folder with our network.

The files hold outputs of the published code under weights and images made by a rule that needs no random library.
"""
