"""Attacks on sums of decision trees, which have no gradient but few places where anything changes.

Both know the trees and ask the model once, at the end, whether it agrees.
"""

from auditor.attacks.trees.attack import Forest, Proof, leaf_tuples, tree_search

__all__ = ["Forest", "Proof", "leaf_tuples", "tree_search"]
