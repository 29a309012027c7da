"""Extra-trees as plain arrays: grown by scikit-learn, walked by NumPy, kept without pickle.

A pickled forest runs code when it is loaded and takes 64 bytes a node. Here a node takes 10: trees lie in a row in
depth-first order, so that the left child is the next node, and a node needs only the jump to its right child.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crnet.errors import FormatError

LEAF = -1
MAX_FEATURES = np.iinfo(np.int16).max
WALKS_AT_ONCE = 200_000  # samples times trees in flight: some 20 MB


@dataclass(frozen=True, eq=False)
class Forest:
    """The extra-trees of all targets, one tree after the other.

    Attributes:
        feature: int16 [nodes], which feature a node looks at; -1 for a leaf.
        value: float32 [nodes], the threshold of a node (`x <= threshold` goes left), the score of a leaf.
        jump: int32 [nodes], from a node to its right child; its left child is the next node. 0 for a leaf.
        start: int64 [targets, trees + 1], where the trees of each target begin; the last is their end.
        features: Number of features that the trees may look at.
    """

    feature: NDArray[np.int16]
    value: NDArray[np.float32]
    jump: NDArray[np.int32]
    start: NDArray[np.int64]
    features: int

    @classmethod
    def fit(cls, x: NDArray[np.float32], y: NDArray[np.float64], *, trees: int, max_features: int, seed: int) -> Forest:
        """Grow `trees` trees for each target, on all cores; the result does not depend on their number.

        Args:
            x: [N, targets, M], the features of each target.
            y: [N, targets].
            trees: Trees of each target.
            max_features: Features drawn at each node; all of them if there are fewer.
            seed: Each target's trees derive from it and the target's place.
        """
        from sklearn.ensemble import ExtraTreesRegressor  # two seconds that prediction need not wait for

        width = x.shape[2]
        if width > MAX_FEATURES:
            raise FormatError(f"{width} features are more than the {MAX_FEATURES} that a forest can name")
        parts: list[tuple[NDArray[np.int16], NDArray[np.float32], NDArray[np.int32]]] = []
        for target in range(x.shape[1]):
            grown = ExtraTreesRegressor(
                trees,
                max_features=min(max_features, width),
                n_jobs=-1,
                random_state=int(np.random.SeedSequence([seed, target]).generate_state(1)[0]),
            ).fit(x[:, target], y[:, target])
            parts += [_flatten(tree.tree_) for tree in grown.estimators_]
        starts = np.concatenate([[0], np.cumsum([len(part[0]) for part in parts])])
        first = np.arange(x.shape[1])[:, None] * trees
        return cls(
            np.concatenate([part[0] for part in parts]),
            np.concatenate([part[1] for part in parts]),
            np.concatenate([part[2] for part in parts]),
            starts[first + np.arange(trees + 1)].astype(np.int64),
            width,
        )

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mean of the trees of each target: float64 [N, targets] for float32 [N, targets, M]."""
        clips, targets, width = x.shape
        if (targets, width) != (len(self.start), self.features):
            raise FormatError(f"features {x.shape[1:]} do not fit a forest of {(len(self.start), self.features)}")
        trees = self.start.shape[1] - 1
        flat = np.ascontiguousarray(x, dtype=np.float32).ravel()
        scores = np.zeros((clips, targets))
        # Few trees with all their clips at a time: bounded memory, and the nodes in use stay in the cache (an eighth of
        # the time of 500 clips).
        at_once = max(1, WALKS_AT_ONCE // max(clips, 1))
        roots, owner = self.start[:, :-1].ravel(), np.repeat(np.arange(targets), trees)
        for first in range(0, len(roots), at_once):
            part = slice(first, first + at_once)
            rows = (np.arange(clips)[:, None] * targets + owner[part]) * width
            leaves = self._walk(flat, rows.ravel(), np.tile(roots[part], clips)).reshape(clips, -1)
            for target in np.unique(owner[part]):
                scores[:, target] += self.value[leaves[:, owner[part] == target]].sum(axis=1, dtype=np.float64)
        return scores / trees

    def _walk(self, flat: NDArray[np.float32], row: NDArray[np.int64], node: NDArray[np.int64]) -> NDArray[np.int64]:
        """The leaf that each walk ends in; walk i starts at `node[i]` and reads the features from `flat[row[i]]` on."""
        leaf = node.copy()
        walking = np.arange(len(node))
        while True:
            feature = self.feature[node]
            inner = np.flatnonzero(feature >= 0)
            if len(inner) < len(node):
                leaf[walking] = node
                if not len(inner):
                    return leaf
                walking, row, node, feature = walking[inner], row[inner], node[inner], feature[inner]
            left = flat[row + feature] <= self.value[node]
            node = node + np.where(left, 1, self.jump[node])

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """The arrays by name, for safetensors."""
        return {"feature": self.feature, "value": self.value, "jump": self.jump, "start": self.start}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.generic]], *, targets: int, features: int) -> Forest:
        """Take arrays of any origin; afterwards `predict` can neither leave them nor walk for ever.

        Raises:
            FormatError: Arrays missing, of another type or shape, or not a forest of `targets` and `features`.
        """
        kinds = {"feature": (np.int16, 1), "value": (np.float32, 1), "jump": (np.int32, 1), "start": (np.int64, 2)}
        if set(tensors) != set(kinds):
            raise FormatError(f"a forest holds the arrays {sorted(kinds)}, found {sorted(tensors)}")
        for name, (dtype, dimensions) in kinds.items():
            if tensors[name].dtype != dtype or tensors[name].ndim != dimensions:
                raise FormatError(f"the forest's {name} is {tensors[name].dtype} of {tensors[name].ndim} dimensions")
        feature, value = (
            tensors["feature"].astype(np.int16, copy=False),
            tensors["value"].astype(np.float32, copy=False),
        )
        jump, start = tensors["jump"].astype(np.int32, copy=False), tensors["start"].astype(np.int64, copy=False)
        forest = cls(feature, value, jump, start, features)
        forest._validate(targets)
        return forest

    def _validate(self, targets: int) -> None:
        nodes = len(self.feature)
        if len(self.value) != nodes or len(self.jump) != nodes or nodes == 0:
            raise FormatError("the forest's arrays are of different length, or empty")
        if self.start.shape[0] != targets or self.start.shape[1] < 2:
            raise FormatError(f"the forest holds trees of {self.start.shape[0]} targets, expected {targets}")
        bounds = np.append(self.start[:, :-1].ravel(), self.start[-1, -1])
        if bounds[0] != 0 or bounds[-1] != nodes or np.any(np.diff(bounds) <= 0):
            raise FormatError("the forest's trees do not lie in a row")
        if np.any(self.start[1:, 0] != self.start[:-1, -1]):
            raise FormatError("the forest's targets do not lie in a row")
        # Tree by tree, what is looked at stays in the cache: over the paper's 72 million nodes that takes a fifth of
        # the time of looking at whole arrays, which is much of what a process waits for before its first clip.
        longest = int(np.diff(bounds).max())
        to_end = np.arange(longest, 0, -1)  # nodes from each one to the end of its tree
        for first, end in itertools.pairwise(bounds.tolist()):
            feature, value, jump = self.feature[first:end], self.value[first:end], self.jump[first:end]
            leaf = feature == LEAF
            if not np.isfinite(value).all():
                raise FormatError("the forest holds a value that is not finite")
            if feature.min() < LEAF or feature.max() >= self.features:
                raise FormatError(f"the forest looks at a feature outside its {self.features}")
            if np.any(np.where(leaf, jump != 0, jump < 2)):
                raise FormatError("a node of the forest does not lead forward")
            # The right child is the further one: if it is in the node's own tree, so is the left one.
            if np.any(jump >= to_end[longest - len(jump) :]):
                raise FormatError("a node of the forest leads out of its tree")


def _flatten(tree: object) -> tuple[NDArray[np.int16], NDArray[np.float32], NDArray[np.int32]]:
    """The arrays of one of scikit-learn's trees."""
    left, right = tree.children_left, tree.children_right  # type: ignore[attr-defined]
    here = np.arange(len(left))
    leaf = left < 0
    if np.any(left[~leaf] != here[~leaf] + 1):
        raise FormatError("this version of scikit-learn does not lay trees out depth first")
    threshold = _not_above(tree.threshold)  # type: ignore[attr-defined]
    score = tree.value[:, 0, 0].astype(np.float32)  # type: ignore[attr-defined]
    return (
        np.where(leaf, LEAF, tree.feature).astype(np.int16),  # type: ignore[attr-defined]
        np.where(leaf, score, threshold),
        np.where(leaf, 0, right - here).astype(np.int32),
    )


def _not_above(threshold: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 not above each threshold: `x <= it` decides as `x <= threshold` for every float32 x."""
    rounded = threshold.astype(np.float32)
    return np.where(rounded > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)
