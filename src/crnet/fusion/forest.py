"""Extra-trees as plain arrays: fitted by scikit-learn, evaluated by NumPy, stored without pickle.

Loading a pickled forest runs code, and a node takes 64 bytes. Here a node takes 10: the nodes are in depth-first order,
so the left child is the next node, and a node stores only the offset of its right child.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crnet.errors import FormatError

LEAF = -1
MAX_FEATURES = np.iinfo(np.int16).max
MAX_PARALLEL_WALKS = 200_000  # samples x trees evaluated at a time: about 20 MB


@dataclass(frozen=True, eq=False)
class Forest:
    """The extra-trees of all targets, one tree after the other.

    Attributes:
        feature: int16 [nodes], index of the feature that a node tests; -1 for a leaf.
        value: float32 [nodes], the threshold of a node (`x <= threshold` goes left), the score of a leaf.
        jump: int32 [nodes], offset from a node to its right child; the left child is the next node. 0 for a leaf.
        start: int64 [targets, trees + 1], the first node of each tree of each target, and the end of the last.
        features: Number of features that the trees can test.
        checked: Whether all nodes are known to lead forward within their tree. If not, `predict` checks those that it
            comes to: for one clip, they are few of the 72 million of the paper's forest.
    """

    feature: NDArray[np.int16]
    value: NDArray[np.float32]
    jump: NDArray[np.int32]
    start: NDArray[np.int64]
    features: int
    checked: bool = True

    @classmethod
    def fit(
        cls,
        x: NDArray[np.float32],
        y: NDArray[np.float64],
        *,
        trees: int,
        max_features: int,
        seed: int,
        min_samples_leaf: int = 1,
    ) -> Forest:
        """Fit `trees` trees for each target on all cores; the result does not depend on the number of cores.

        Args:
            x: [N, targets, M], the features of each target.
            y: [N, targets].
            trees: Trees of each target.
            max_features: Features sampled at each node; all of them if there are fewer.
            seed: The trees of each target depend on the seed and the index of the target.
            min_samples_leaf: The fewest samples in a leaf.

        Raises:
            FormatError: More features than an int16 can number.
        """
        from sklearn.ensemble import ExtraTreesRegressor  # takes two seconds; prediction does not need it

        width = x.shape[2]
        if width > MAX_FEATURES:
            raise FormatError(f"{width} features are more than the {MAX_FEATURES} that a forest can number")
        parts: list[tuple[NDArray[np.int16], NDArray[np.float32], NDArray[np.int32]]] = []
        for target in range(x.shape[1]):
            regressor = ExtraTreesRegressor(
                trees,
                max_features=min(max_features, width),
                min_samples_leaf=min_samples_leaf,
                n_jobs=-1,
                random_state=int(np.random.SeedSequence([seed, target]).generate_state(1)[0]),
            )
            # The threads of scikit-learn change the process's warning filters and may leave them empty, which makes
            # its later fits warn once for every tree.
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="`sklearn.utils.parallel.delayed`", category=UserWarning)
                regressor.fit(x[:, target], y[:, target])
            parts += [_flatten(tree.tree_) for tree in regressor.estimators_]
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
        """Return the mean of the trees of each target: float64 [N, targets] for float32 [N, targets, M].

        Raises:
            FormatError: The features do not have the shape of the training features, or the forest was not checked and
                is damaged.
        """
        clips, targets, width = x.shape
        if (targets, width) != (len(self.start), self.features):
            raise FormatError(f"features {x.shape[1:]} do not fit a forest of {(len(self.start), self.features)}")
        trees = self.start.shape[1] - 1
        flat = np.ascontiguousarray(x, dtype=np.float32).ravel()
        scores = np.zeros((clips, targets))
        # A few trees at a time, with all clips: memory is bounded, and the nodes in use stay in the cache.
        batch = max(1, MAX_PARALLEL_WALKS // max(clips, 1))
        roots, target_of_tree = self.start[:, :-1].ravel(), np.repeat(np.arange(targets), trees)
        ends = self.start[:, 1:].ravel()
        for first in range(0, len(roots), batch):
            part = slice(first, first + batch)
            rows = (np.arange(clips)[:, None] * targets + target_of_tree[part]) * width
            nodes, last = np.tile(roots[part], clips), np.tile(ends[part], clips)
            leaves = self._walk(flat, rows.ravel(), nodes, last).reshape(clips, -1)
            for target in np.unique(target_of_tree[part]):
                scores[:, target] += self.value[leaves[:, target_of_tree[part] == target]].sum(axis=1, dtype=np.float64)
        return scores / trees

    def _walk(
        self, flat: NDArray[np.float32], row: NDArray[np.int64], node: NDArray[np.int64], end: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the leaf at which each walk ends.

        Walk i starts at `node[i]`, its features at `flat[row[i]]`, and its tree ends before `end[i]`.
        """
        leaf = node.copy()
        walking = np.arange(len(node))
        while True:
            feature, jump = self.feature[node], self.jump[node]
            if not self.checked:
                self._check_nodes(feature, self.value[node], jump, end - node)
            inner = np.flatnonzero(feature >= 0)
            if len(inner) < len(node):
                leaf[walking] = node
                if not len(inner):
                    return leaf
                walking, row, node, end = walking[inner], row[inner], node[inner], end[inner]
                feature, jump = feature[inner], jump[inner]
            left = flat[row + feature] <= self.value[node]
            node = node + np.where(left, 1, jump)

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays by name, for safetensors."""
        return {"feature": self.feature, "value": self.value, "jump": self.jump, "start": self.start}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, NDArray[np.generic]], *, targets: int, features: int, check_nodes: bool = True
    ) -> Forest:
        """Build a forest from untrusted arrays; `predict` stays within them and terminates.

        Args:
            tensors: The arrays of `to_tensors`.
            targets, features: What the forest must have.
            check_nodes: Check every node now; otherwise see `checked`.

        Raises:
            FormatError: Arrays are missing, of another type or shape, or not a forest of `targets` and `features`.
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
        forest = cls(feature, value, jump, start, features, check_nodes)
        forest._check_trees(targets)
        if check_nodes:
            forest._check_all_nodes()
        return forest

    def _check_trees(self, targets: int) -> None:
        nodes = len(self.feature)
        if len(self.value) != nodes or len(self.jump) != nodes or nodes == 0:
            raise FormatError("the forest's arrays differ in length or are empty")
        if self.start.shape[0] != targets or self.start.shape[1] < 2:
            raise FormatError(f"the forest holds trees of {self.start.shape[0]} targets, expected {targets}")
        bounds = np.append(self.start[:, :-1].ravel(), self.start[-1, -1])
        if bounds[0] != 0 or bounds[-1] != nodes or np.any(np.diff(bounds) <= 0):
            raise FormatError("the forest's trees are not consecutive")
        if np.any(self.start[1:, 0] != self.start[:-1, -1]):
            raise FormatError("the forest's targets are not consecutive")

    def _check_all_nodes(self) -> None:
        # Checking one tree at a time keeps its nodes in the cache, which takes a fifth of the time of whole arrays.
        bounds = np.append(self.start[:, :-1].ravel(), self.start[-1, -1])
        longest = int(np.diff(bounds).max())
        to_end = np.arange(longest, 0, -1)  # nodes from each one to the end of its tree
        for first, end in itertools.pairwise(bounds.tolist()):
            part = slice(first, end)
            self._check_nodes(self.feature[part], self.value[part], self.jump[part], to_end[longest - (end - first) :])

    def _check_nodes(
        self,
        feature: NDArray[np.int16],
        value: NDArray[np.float32],
        jump: NDArray[np.int32],
        to_end: NDArray[np.int64],
    ) -> None:
        """Refuse nodes that `predict` could not pass.

        Args:
            feature, value, jump: The nodes' entries.
            to_end: Number of nodes from each one to the end of its tree.

        Raises:
            FormatError: A node leads out of its tree or not forward, or tests a feature that does not exist.
        """
        leaf = feature == LEAF
        if not np.isfinite(value).all():
            raise FormatError("the forest holds a value that is not finite")
        if feature.min() < LEAF or feature.max() >= self.features:
            raise FormatError(f"a node of the forest tests a feature outside its {self.features}")
        if np.any(np.where(leaf, jump != 0, jump < 2)):
            raise FormatError("a node of the forest does not lead forward")
        # The right child is the farther one: if it lies in the tree, so does the left child.
        if np.any(jump >= to_end):
            raise FormatError("a node of the forest leads out of its tree")


def _flatten(tree: object) -> tuple[NDArray[np.int16], NDArray[np.float32], NDArray[np.int32]]:
    """Return the arrays of one scikit-learn tree.

    Raises:
        FormatError: The nodes are not in depth-first order.
    """
    left, right = tree.children_left, tree.children_right  # type: ignore[attr-defined]
    node = np.arange(len(left))
    leaf = left < 0
    if np.any(left[~leaf] != node[~leaf] + 1):
        raise FormatError("this version of scikit-learn does not store trees depth first")
    threshold = _not_above(tree.threshold)  # type: ignore[attr-defined]
    score = tree.value[:, 0, 0].astype(np.float32)  # type: ignore[attr-defined]
    return (
        np.where(leaf, LEAF, tree.feature).astype(np.int16),  # type: ignore[attr-defined]
        np.where(leaf, score, threshold),
        np.where(leaf, 0, right - node).astype(np.int32),
    )


def _not_above(threshold: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round each threshold down to float32: for every float32 x, `x <= rounded` decides as `x <= threshold`."""
    rounded = threshold.astype(np.float32)
    return np.where(rounded > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)
