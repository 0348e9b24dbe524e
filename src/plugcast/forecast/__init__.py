"""Will it be plugged in, and how much will it need?"""
