/* cluster.conf and node.conf with any bytes in them. What is taken keeps the promises of cluster.h.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "src/config/cluster.h"

static void sound(const struct cluster *cluster)
{
	size_t voters = 0, data = 0;
	assert(cluster->name[0] && cluster->gossip_port > 0);
	assert(cluster->node_count > 0 && cluster->node_count <= CLUSTER_NODES_MAX);
	for (size_t i = 0; i < cluster->node_count; i++) {
		const struct cluster_node *node = &cluster->node[i];
		voters += node->voter;
		data += strcmp(node->role, "data") == 0;
		assert(node->id == i + 1 && node->role[0] && node->address.address.s_addr);
		assert(cluster_find_node(cluster, node->name) == node);
	}
	assert(voters == cluster->voter_count && voters % 2 == 1);
	assert(data == 1 || data == 2);
	for (size_t i = 0; i < cluster->address_count; i++)
		assert(strcmp(cluster->address[i].prefer->role, cluster->address[i].role) == 0);
	for (size_t i = 0; i < cluster->share_count; i++)
		assert(strcmp(cluster->share[i].address->role, "data") == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config_report report;
	struct arena arena = {0};
	struct node_identity identity;

	report.count = report.seen = 0;
	const struct cluster *cluster =
		cluster_parse(&arena, "c", (const char *)data, size, &report);
	assert((cluster != NULL) == (report.seen == 0));
	if (cluster)
		sound(cluster);

	report.count = report.seen = 0;
	bool good = node_identity_parse(&identity, "n", (const char *)data, size, &report);
	assert(good == (report.seen == 0));
	assert(!good || identity.name[0]);
	arena_free(&arena);
	return 0;
}
