"""The contracts: what a plugin author implements, one file per kind of step.

Every step is built from its settings in the process that uses it. It must give the same results for any batch size and
order, and must not modify its input or global random state. A step that cannot be called from several threads at once
sets `thread_safe = False` and is called under a lock.

A filter, normalizer or sink may keep the pixels it is given, or return views of them: that memory is not reused. One
that does neither sets `keeps_pixels = False`; the memory is then reused for the next tiles, which is faster.
"""
