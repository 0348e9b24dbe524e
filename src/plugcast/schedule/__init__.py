"""When do we charge?"""
