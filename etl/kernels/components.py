"""Connected components: which nodes are joined by edges, directly or by way of others."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def of_edges(left: pa.Array, right: pa.Array) -> pa.RecordBatch:
    """One row (node, component, degree, size) per node of some edges, in order of the nodes.

    ``left[i]`` and ``right[i]`` are the ends of an edge, strings that differ; no edge is given twice. A component is
    named by its smallest node; `size` counts its nodes, `degree` the edges of a node, so that a component is complete,
    each node joined to each, when ``degree == size - 1`` for all of them. The order of edges and of their ends makes no
    difference. Takes some 150 bytes for a node and 30 for an edge; a million of both took 3.7 s of CPU.
    """
    ends = pa.concat_arrays([left, right])
    nodes = ends.unique()
    nodes = nodes.take(pc.sort_indices(nodes))
    codes = pc.index_in(ends, value_set=nodes).to_numpy().astype(np.int32)
    here, there = codes[: len(left)], codes[len(left) :]
    graph = coo_array((np.ones(here.size, np.int8), (here, there)), shape=(len(nodes), len(nodes)))
    count, labels = connected_components(graph, directed=False)
    # Nodes are sorted, so the first with a label is the smallest.
    first = np.full(count, len(nodes), np.int64)
    np.minimum.at(first, labels, np.arange(len(nodes)))
    return pa.RecordBatch.from_arrays(
        [
            nodes,
            nodes.take(pa.array(first[labels])),
            pa.array(np.bincount(codes, minlength=len(nodes)), pa.int64()),
            pa.array(np.bincount(labels, minlength=count)[labels], pa.int64()),
        ],
        names=["node", "component", "degree", "size"],
    )
