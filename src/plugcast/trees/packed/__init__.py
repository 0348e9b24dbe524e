"""How is a forest stored in tens of kilobytes and walked in microseconds?

``pack_lightgbm`` and ``pack_isolation`` make a ``Forest`` of arrays, ``layout`` writes and reads its bytes, and
``Packed`` scores and explains rows, by the C kernel where it was built and by NumPy where not, with the same bits.
"""
