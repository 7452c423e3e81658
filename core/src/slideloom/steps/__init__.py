"""The contracts: what a plugin author implements, one file per kind of step.

Every step is built from its settings in the process that uses it. The same answer is due for any batch size and
order; input is left alone; global random state is not touched. A step that may not be called from several threads
at once says `thread_safe = False` and is called under a lock.
"""
