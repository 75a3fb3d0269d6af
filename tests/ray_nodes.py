"""A Ray cluster of two nodes on this machine, in a process of its own.

``python ray_nodes.py`` prints its address and the second node's id; a line on stdin loses that node, the end of stdin
ends all of it.
"""

from __future__ import annotations

import sys

from ray.cluster_utils import Cluster


def main() -> None:
    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=small)
    try:
        second = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
        cluster.wait_for_nodes()
        print(cluster.address, second.node_id, flush=True)
        if sys.stdin.readline():
            cluster.remove_node(second, allow_graceful=False)
            print("lost", flush=True)
            sys.stdin.read()
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
