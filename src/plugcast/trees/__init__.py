"""How is a forest stored and walked?"""
