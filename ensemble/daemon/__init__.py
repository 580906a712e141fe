"""
The roof: ``twistd humd``, its options, its files, and the tree of services that the other rooms make up.

Nobody imports this room; `ensemble.daemon.tap` is what ``twistd`` looks at.
"""
