"""The contracts: what a plugin author implements, one file per kind of step.

Every step is built from its settings in the process that uses it. The same answer is due for any batch size and
order; input is left alone; global random state is not touched. A step that may not be called from several threads
at once says `thread_safe = False` and is called under a lock.

A filter, normalizer or sink may hold on to the pixels it is given, and return views of them: their memory is then its
own. One that does neither says `keeps_pixels = False`, and the memory is used for the next tiles, which is faster.
"""
