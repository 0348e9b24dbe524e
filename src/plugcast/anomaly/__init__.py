"""Is this session odd, and why?"""
